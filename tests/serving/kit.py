"""A store, a clock and the endpoints: requests are answered without a framework or a `Flow`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpay_flow import drive
from xpay_flow import sample_records as b
from xpay_flow.drive import Ports, Shared
from xpay_flow.endpoints import Pages, ReadRoute, WebRequest, WebResponse, WriteRoute, route
from xpay_flow.events import Event
from xpay_flow.flows import FlowContext
from xpay_flow.ports import HttpRequest, HttpResponse
from xpay_flow.rate_limit import RateLimiter
from xpay_flow.settings import Settings
from xpay_flow.testing.adapter_suite import CountingStore, WaitingClock


class NoTransport:
    def send(self, request: HttpRequest) -> HttpResponse:
        raise AssertionError


class NoIds:
    def new(self, prefix: str) -> str:
        raise AssertionError


class Site:
    """The routes on a store with one attempt, `in_1`, with `events` on record."""

    def __init__(self, *events: Event, pages: Pages | None = None, **settings: Any) -> None:
        self.store = CountingStore()
        self.clock = WaitingClock()
        self.pages = pages or Pages()
        self.context = FlowContext(Settings.sandbox(**settings))
        self.ports = Ports(
            store=self.store,
            transport=NoTransport(),
            clock=self.clock,
            shared=Shared(ids=NoIds(), rate_limiter=RateLimiter(60)),
        )
        for step in b.history(b.created(), *events):
            assert self.store.commit(step)

    def learn(self, event: Event) -> None:
        """More events, which did not come as webhooks."""
        (record,) = self.store.history("x:in_1")
        assert self.store.commit(b.next_change(record, event))

    def route(self, request: WebRequest) -> ReadRoute | WriteRoute:
        return route(request, self.context, self.pages)

    def answer(self, request: WebRequest) -> WebResponse:
        """The response; what only asks is performed with a reader alone."""
        found = self.route(request)
        if isinstance(found, WriteRoute):
            return drive.run(found.flow, self.ports)
        return drive.run_query(found.flow, self.store.reader(), self.clock)

    def get(self, path: str, **query: str) -> WebResponse:
        return self.answer(WebRequest(method="GET", path=path, query=query))

    def after(self, pauses: int, act: Callable[[], None]) -> None:
        """Do something during the n-th wait."""

        def meanwhile() -> None:
            if pauses == self.clock.pauses:
                act()

        self.clock.meanwhile = meanwhile
