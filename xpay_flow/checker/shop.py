"""What is checked? A store, rules, handlers, and the flows that a shop runs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Mapping
from typing import Any, Protocol

import attrs

from xpay_flow import flows
from xpay_flow.effects import Ran, RunHandler
from xpay_flow.endpoints import Asks, Does, Pages, WebRequest, route
from xpay_flow.errors import error_text
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.flows import Rules
from xpay_flow.ports import Store
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.terms import Terms

AnyFlow = Generator[Any, Any, Any]


class SnapshotStore(Store, Protocol):
    """A store that can be put back to where it was, and can list what it holds."""

    def snapshot(self) -> Any: ...

    def restore(self, snapshot: Any) -> None: ...

    def recent(self, limit: int) -> Any: ...


def answering(request: WebRequest, rules: Rules) -> AnyFlow:
    """The endpoint's flow: what is checked is what a framework calls."""
    answer = route(request, rules, Pages())
    assert isinstance(answer, Does | Asks)
    return answer.flow


@attrs.frozen(kw_only=True)
class Shop:
    """One shop under check. A flow of your own, written with our effects, takes the place of ours.

    Args:
        handlers: called for real, once for each different payment that they are given.
        click, forward, deliver, reconcile, respond: make the flows.
        replaced: what stands in for something of the real shop, in words.
    """

    store: SnapshotStore
    rules: Rules
    handlers: Mapping[str, Callable[..., object]]
    click: Callable[[Terms, Rules], AnyFlow] = flows.start_checkout
    forward: Callable[[str, Rules], AnyFlow] = flows.forward
    deliver: Callable[[Rules], AnyFlow] = flows.deliver
    reconcile: Callable[[Rules], AnyFlow] = flows.reconcile
    respond: Callable[[WebRequest, Rules], AnyFlow] = answering
    replaced: tuple[str, ...] = ()

    @classmethod
    def of(cls, flow: Flow | AsyncFlow) -> Shop:
        """The shop behind a flow. A store without `snapshot` is replaced by the one in memory."""
        replaced: list[str] = []
        store: Any = flow.store
        if not (hasattr(store, "snapshot") and hasattr(store, "restore")):
            replaced.append(f"{type(store).__name__} is taken to do what MemoryStore does")
            store = MemoryStore()
        handlers: dict[Any, Callable[..., object]] = dict(flow.ports.handlers)
        return cls(store=store, rules=flow.rules, handlers=handlers, replaced=tuple(replaced))

    def shortened(self, faults: int) -> Shop:
        """The shop with as many entries in each schedule as faults can spoil, and no more.

        Each fault spoils at most one try, so whoever gives up at the end of a schedule of this
        length has met a bug and not bad luck. The flows know the first entries and the end only,
        so more entries would repeat what a shorter schedule has shown.
        """
        entries = max(faults, 1)
        settings = attrs.evolve(
            self.rules.settings,
            ask_schedule_s=self.rules.settings.ask_schedule_s[:entries],
            retry_schedule_s=self.rules.settings.retry_schedule_s[:entries],
            create_tries=1,
        )
        said = f"schedules are cut to {entries} entries, and one try of a creation at a time"
        rules = attrs.evolve(self.rules, settings=settings)
        return attrs.evolve(self, rules=rules, replaced=(*self.replaced, said))

    def ran(self, op: RunHandler) -> Ran:
        """The user's real handler, called."""
        handler = self.handlers.get(op.name)
        if handler is None:
            return Ran("missing")
        try:
            returned = handler(op.payment)
            if inspect.iscoroutine(returned):
                asyncio.run(returned)
        except Exception as error:
            return Ran("failed", error_text(error))
        return Ran("done")
