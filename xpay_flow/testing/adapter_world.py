"""In which world is an adapter tried? A store and a clock that the test is in charge of.

Time passes only during waits, nothing opens a socket, and xPay is not there, or a local one.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias, cast
from urllib.parse import urlencode

import attrs

from xpay_flow import messages as m
from xpay_flow import sample_records as b
from xpay_flow.endpoints import Header, Pages, RequestHandler
from xpay_flow.errors import StoreUnavailable
from xpay_flow.events import EventIdentity
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.payment import Payment
from xpay_flow.ports import AsyncTransport, HttpRequest, HttpResponse, Transport
from xpay_flow.records import Change, Record
from xpay_flow.sandbox import Sandbox
from xpay_flow.settings import Settings
from xpay_flow.stores.memory import MemoryStore

from .adapter_clients import GIVEN_UP_S, Answer, AnyBody, Client
from .world import AsyncSandboxTransport, SandboxTransport

AnyFlow: TypeAlias = Flow | AsyncFlow

BODY_BYTES_MAX: Final = 4096
SETTINGS: Final = Settings.sandbox(body_bytes_max=BODY_BYTES_MAX)
CHUNK: Final = b"x" * 1024
# Servers read ahead; an adapter that collects what it should refuse reads all of these.
CHUNKS_SENT: Final = 200
CHUNKS_READ_MAX: Final = BODY_BYTES_MAX // len(CHUNK) + 3
# Spaces, an escape and an order that no serialiser would write again.
ODD_SPELLING: Final = (
    b'{ "eventType":"intent.success",\n "eventId" : "whe_1" ,"eventTime":1760000000000,'
    b'"intentId":"in_1","status":"SUCCESS","amount":1999,"currency":"USD",'
    b'"metadata":{"note":"Zo\\u00eb \xe2\x82\xb9 \\/"}  }'
)


class Gate:
    """Keeps a commit waiting, until the test has done what it wanted to do meanwhile."""

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails
        self._reached, self._opened = threading.Event(), threading.Event()

    def is_reached(self) -> bool:
        return self._reached.is_set()

    def open(self) -> None:
        self._opened.set()

    def pass_through(self) -> None:
        self._reached.set()
        assert self._opened.wait(GIVEN_UP_S), "the test has forgotten to open its gate"
        if self._fails:
            raise StoreUnavailable("lost, as the test wants it")


class CountingStore(MemoryStore):
    """A store that counts looks and commits, and can be out of reach, slow or kept waiting.

    Attributes:
        slow_s: how long each look takes.
        gate: where the next commit waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loads = self.commits = 0
        self.down = False
        self.slow_s = 0.0
        self.gate: Gate | None = None

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        self.loads += 1
        if self.down:
            raise StoreUnavailable("down, as the test wants it")
        if self.slow_s:
            threading.Event().wait(self.slow_s)
        return super().load(alias, event)

    def commit(self, change: Change) -> bool:
        self.commits += 1
        gate, self.gate = self.gate, None
        if gate is not None:
            gate.pass_through()
        return super().commit(change)


class WaitingClock:
    """Time passes only during waits, and meanwhile something may happen."""

    def __init__(self) -> None:
        self._now_ms = b.NOW_MS
        self.pauses = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def now_ms(self) -> int:
        return self._now_ms

    def pause(self, seconds: float) -> None:
        self.pauses += 1
        self._now_ms += round(seconds * 1000)
        self.meanwhile()


class AsyncWaitingClock:
    """The same clock for an event loop, which goes on meanwhile."""

    def __init__(self, clock: WaitingClock) -> None:
        self._clock = clock

    def now_ms(self) -> int:
        return self._clock.now_ms()

    async def pause(self, seconds: float) -> None:
        await asyncio.to_thread(self._clock.pause, seconds)


class NoXPay:
    """No route of ours calls xPay."""

    def send(self, request: HttpRequest) -> HttpResponse:
        raise AssertionError(f"an HTTP route called xPay: {request}")


class AsyncNoXPay:
    async def send(self, request: HttpRequest) -> HttpResponse:
        raise AssertionError(f"an HTTP route called xPay: {request}")


class World:
    """A flow, its store and its clock, and a client in front of them.

    Args:
        xpay: a local xPay; without one, a call to xPay fails.
        settings: changes to `SETTINGS`. With any, time is the machine's.
    """

    flow: AnyFlow
    client: Client

    def __init__(self, prefix: str, *, xpay: Sandbox | None = None, **settings: Any) -> None:
        self.prefix = prefix
        self.xpay = xpay
        self.store = CountingStore()
        self.clock = WaitingClock()
        self.settings = attrs.evolve(SETTINGS, **settings)
        self.handled: list[Payment] = []
        self._has_real_time = bool(settings)
        self._sent: Counter[tuple[str, str]] = Counter()

    @property
    def waiting(self) -> int:
        """How many queries wait, in real time."""
        return len(self.flow.ports.shared.waiting)

    def sync_flow(self) -> Flow:
        transport: Transport = SandboxTransport(self.xpay) if self.xpay else NoXPay()
        flow = Flow(
            self.store,
            self.settings,
            transport=transport,
            clock=None if self._has_real_time else self.clock,
            pages=Pages(retry_url="/cart"),
            background=False,
        )
        flow.on_success(self.handled.append)
        return flow

    def async_flow(self) -> AsyncFlow:
        transport: AsyncTransport = AsyncSandboxTransport(self.xpay) if self.xpay else AsyncNoXPay()
        flow = AsyncFlow(
            self.store,
            self.settings,
            transport=transport,
            clock=None if self._has_real_time else AsyncWaitingClock(self.clock),
            pages=Pages(retry_url="/cart"),
            background=False,
        )
        flow.on_success(self.handled.append)
        return flow

    def close(self) -> None:
        """End what the client has started."""
        close = getattr(getattr(self, "client", None), "close", None)
        if callable(close):
            close()

    def send(
        self, method: str, path: str, headers: Sequence[Header] = (), body: AnyBody = b""
    ) -> Answer:
        """One request to a path below the prefix."""
        return self.send_to(method, self.prefix + path, headers, body)

    def send_to(
        self, method: str, whole_path: str, headers: Sequence[Header] = (), body: AnyBody = b""
    ) -> Answer:
        """One request to any path. What it was stands in the answer, for assertions."""
        self._sent[method, whole_path] += 1
        to = _in_words(method, whole_path, headers, body, self._sent[method, whole_path])
        try:
            return attrs.evolve(self.client(method, whole_path, headers, cast(Any, body)), to=to)
        except AssertionError:
            raise
        except Exception as error:
            error.add_note(f"this was the answer to {to}")
            raise

    def deliver(self, body: bytes, *signatures: Header) -> Answer:
        """A webhook; signed as xPay does, unless other signatures are given."""
        return self.deliver_with(JSON_TYPE, *(signatures or [signature(body)]), body=body)

    def deliver_with(self, *headers: Header, body: AnyBody) -> Answer:
        """A webhook with these headers alone."""
        return self.send("POST", "/webhook", headers, body)

    def status(self, x_intent_id: str, **query: str) -> Answer:
        """The status query's answer about an intent."""
        return self.send(
            "GET", f"/payment-status?{urlencode({'xpay_intent_id': x_intent_id, **query})}"
        )

    def recorded(self, x_intent_id: str) -> list[str]:
        """The ids of the events from xPay that are recorded for an intent, in their order."""
        records = self.store.history(f"x:{x_intent_id}")
        return [recorded.event.event_id for record in records for recorded in record.events]


JSON_TYPE: Final[Header] = ("Content-Type", "application/json")


def _in_words(
    method: str, path: str, headers: Sequence[Header], body: AnyBody, repetition: int
) -> str:
    """Method, path, headers, the length of the body, and which request to this address it is."""
    given = [f"{name}: {value if len(value) < 40 else value[:36] + '…'}" for name, value in headers]
    size = f"{len(body)} bytes" if isinstance(body, bytes) else "a stream"
    return f"{method} {path[:200]} ({'; '.join([*given, size, f'request {repetition}'])})"


def signature(body: bytes) -> Header:
    """xPay's signature header for `body`: "base64(HMAC-SHA512(key, raw body))"."""
    key = SETTINGS.webhook_secrets[0].encode()
    return m.HMAC_HEADER, base64.b64encode(hmac.digest(key, body, "sha512")).decode()


def event(x_intent_id: str, event_id: str, note: str = "") -> bytes:
    """A payment, as xPay would report it."""
    return json.dumps(
        {
            "eventId": event_id,
            "eventType": m.INTENT_SUCCESS,
            "eventTime": b.NOW_MS,
            "intentId": x_intent_id,
            "status": m.STATUS_SUCCESS,
            "amount": b.PRICE.amount_minor,
            "currency": b.PRICE.currency,
            "metadata": {"note": note},
        }
    ).encode()


class Stream:
    """A body that goes on and on, and counts how much of it was taken.

    Args:
        is_served: a server, and the buffers of two sockets, read ahead of the adapter.
    """

    def __init__(self, is_served: bool = False) -> None:
        self._chunk = CHUNK * 64 if is_served else CHUNK
        self.length = CHUNKS_SENT * len(self._chunk)
        self.taken_max = CHUNKS_SENT - 1 if is_served else CHUNKS_READ_MAX
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        while self.taken < CHUNKS_SENT:
            self.taken += 1
            yield self._chunk


def sync_only(flow: AnyFlow) -> RequestHandler:
    """The flow of a suite that is not async, with its type."""
    assert isinstance(flow, Flow)
    return flow
