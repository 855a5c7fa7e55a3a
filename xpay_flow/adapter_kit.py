"""What does every adapter need, so that it is decided once?

Reading a bounded body, a query string and a mounted path; and keeping requests that wait from
using up all threads of a server.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeGuard, cast
from urllib.parse import parse_qsl

import attrs

from .endpoints import AsyncRequestHandler, RequestHandler, WebRequest, WebResponse, json_response
from .errors import ConfigurationError
from .threads import Threads

# The addresses below where an adapter mounts them; each with and without a slash at its end.
ROUTES: Final = ("/webhook", "/payment-status", "/return", "/xpay-flow.js", "/xpay-flow.css")
# A return address has one parameter of xPay's and a few of the shop's.
QUERY_FIELDS_MAX: Final = 100
# A small server has about four threads. At least half of them must be free for xPay's webhook,
# which is what the waiting requests wait for, and which must be answered within two seconds.
WAITING_THREADS_MAX: Final = 2


def parse_query(raw: bytes) -> dict[str, str]:
    """The parameters of a query string; of one given twice, the last. Absurdly many are none."""
    if not raw:
        return {}
    try:
        pairs = parse_qsl(
            raw.decode("ascii", "replace"),
            keep_blank_values=True,
            max_num_fields=QUERY_FIELDS_MAX,
        )
    except ValueError:
        return {}
    return dict(pairs)


def below(mount: str, path: str) -> str:
    """`path` relative to where an app is mounted.

    Servers and frameworks disagree on whether a path includes the mount, or its last part only
    (the rest was cut off by a proxy), or nothing of it.
    """
    parts = mount.strip("/").split("/")
    for start in range(len(parts) if mount else 0):
        prefix = "/" + "/".join(parts[start:])
        if path.startswith(prefix + "/"):
            return path[len(prefix) :]
    return path


def checked_prefix(prefix: str) -> str:
    """A prefix for routes: empty, or such as "/xpay"."""
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise ConfigurationError('prefix must be empty, or begin with "/" and not end with it')
    return prefix


def only_flow(flows: Iterable[Any], mounted: str) -> Any:
    """The one flow that an app serves, for its own views.

    Args:
        mounted: how a shop mounts the routes, for the error.

    Raises:
        ConfigurationError: there is none, or there are several.
    """
    found = {id(flow): flow for flow in flows}
    if len(found) != 1:
        raise ConfigurationError(f"{mounted} must be there, for one flow; there are {len(found)}")
    return next(iter(found.values()))


def route_name(path: str) -> str:
    """The name of a route where a framework wants one: `/payment-status` is `payment_status`."""
    return path.strip("/").replace("-", "_").replace(".", "_")


class Body:
    """Collects a body, up to one byte over the limit, which proves it too large."""

    def __init__(self, flow: RequestHandler | AsyncRequestHandler) -> None:
        self._chunks: list[bytes] = []
        self.wanted = flow.settings.body_bytes_max + 1

    def add(self, chunk: bytes) -> None:
        """Take the next bytes, as many as are `wanted`."""
        self._chunks.append(chunk[: self.wanted])
        self.wanted -= len(self._chunks[-1])

    def __bytes__(self) -> bytes:
        return b"".join(self._chunks)


def length_required() -> WebResponse:
    """The answer to a body whose end the server does not know."""
    return json_response(411, {"error": "send a Content-Length"})


def is_async(flow: RequestHandler | AsyncRequestHandler) -> TypeGuard[AsyncRequestHandler]:
    """Whether `flow.handle` is to be awaited."""
    return inspect.iscoroutinefunction(flow.handle)


async def start(flow: RequestHandler | AsyncRequestHandler) -> None:
    """Have the flow begin with what is due; for frameworks that have a start-up."""
    begun = flow.start()
    if inspect.isawaitable(begun):
        await begun


def blocking(flow: RequestHandler | AsyncRequestHandler) -> Blocking:
    """`flow` for servers that give each request a thread.

    Raises:
        ConfigurationError: the flow is an async one.
    """
    if is_async(flow):
        raise ConfigurationError("a synchronous framework needs a Flow, not an AsyncFlow")
    return Blocking(cast(RequestHandler, flow))


class Blocking:
    """Answers requests, of which only a few at a time may hold a thread while they wait."""

    def __init__(self, flow: RequestHandler) -> None:
        self.flow = flow
        self._waiting = threading.BoundedSemaphore(WAITING_THREADS_MAX)

    def handle(self, request: WebRequest, *, patient: bool = True) -> WebResponse:
        """The flow's answer; at once if too many wait already, or if there is but one thread."""
        if "wait" not in request.query:
            return self.flow.handle(request)
        if not patient or not self._waiting.acquire(blocking=False):
            return self.flow.handle(_at_once(request))
        try:
            return self.flow.handle(request)
        finally:
            self._waiting.release()


def answering(
    flow: RequestHandler | AsyncRequestHandler,
) -> Callable[[WebRequest], Awaitable[WebResponse]]:
    """How an event loop gets answers: an `AsyncFlow` is awaited, a `Flow` called in threads."""
    if is_async(flow):
        return flow.handle
    in_threads, threads = blocking(flow), Threads("xpay-flow answers")

    async def answer(request: WebRequest) -> WebResponse:
        return await threads.call(in_threads.handle, request)

    return answer


def _at_once(request: WebRequest) -> WebRequest:
    query = {name: value for name, value in request.query.items() if name != "wait"}
    return attrs.evolve(request, query=query)
