"""What does every adapter need, so that it is decided once?

Reading a bounded body in bounded time, a query string and a mounted path; answering in threads or
in an event loop; and noticing that a client who waits has hung up.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    MutableMapping,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeAlias, TypeGuard, cast
from urllib.parse import parse_qsl

import attrs

from .endpoints import (
    AsyncRequestHandler,
    Header,
    RequestHandler,
    WebRequest,
    WebResponse,
    json_response,
)
from .errors import ConfigurationError
from .priced import CHECKOUT as CHECKOUT
from .priced import Price as Price
from .priced import paths_of as paths_of
from .priced import priced as priced
from .priced import unpriced as unpriced
from .threads import Threads
from .waiting import HangUp, hang_up

# What an ASGI app is called with.
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]

# A return address has one parameter of xPay's and a few of the shop's.
QUERY_FIELDS_MAX: Final = 100


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
    found = {id(flow): flow for flow in map(unpriced, flows)}
    if len(found) != 1:
        raise ConfigurationError(f"{mounted} must be there, for one flow; there are {len(found)}")
    return next(iter(found.values()))


def route_name(path: str) -> str:
    """The name of a route where a framework wants one: `/payment-status` is `payment_status`."""
    return path.strip("/").replace("-", "_").replace(".", "_")


class Body:
    """Collects a body, up to one byte over the limit, which proves it too large.

    Attributes:
        wanted: how many bytes more.
        timeout_s: how long all of it may take to arrive.
    """

    def __init__(self, flow: RequestHandler | AsyncRequestHandler) -> None:
        self._chunks: list[bytes] = []
        self.wanted = flow.settings.body_bytes_max + 1
        self.timeout_s = flow.settings.body_timeout_s

    def add(self, chunk: bytes) -> None:
        """Take the next bytes, as many as are `wanted`."""
        self._chunks.append(chunk[: self.wanted])
        self.wanted -= len(self._chunks[-1])

    def __bytes__(self) -> bytes:
        return b"".join(self._chunks)


def length_required() -> WebResponse:
    """The answer to a body whose end the server does not know."""
    return json_response(411, {"error": "send a Content-Length"})


def too_slow() -> WebResponse:
    """The answer to a body that has not arrived within `settings.body_timeout_s`."""
    return json_response(408, {"received": False, "error": "too-slow"})


def is_async(flow: RequestHandler | AsyncRequestHandler) -> TypeGuard[AsyncRequestHandler]:
    """Whether `flow.handle` is to be awaited."""
    return inspect.iscoroutinefunction(flow.handle)


async def start(flow: RequestHandler | AsyncRequestHandler) -> None:
    """Have the flow begin with what is due; for frameworks that have a start-up."""
    begun = flow.start()
    if inspect.isawaitable(begun):
        await begun


def lifespan(
    flow: RequestHandler | AsyncRequestHandler,
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Has the flow begin to deliver when the server starts, and not with its first request only.

    The program that made the flow closes it.
    """

    @asynccontextmanager
    async def started(_: Any) -> AsyncGenerator[None, None]:
        await start(flow)
        yield

    return started


def blocking(flow: RequestHandler | AsyncRequestHandler) -> Blocking:
    """`flow` for servers that give each request a thread.

    Raises:
        ConfigurationError: the flow is an async one.
    """
    if is_async(flow):
        raise ConfigurationError("a synchronous framework needs a Flow, not an AsyncFlow")
    return Blocking(cast(RequestHandler, flow))


class Blocking:
    """Answers requests in the thread of the caller. How many may wait there, the flow decides."""

    def __init__(self, flow: RequestHandler) -> None:
        self.flow = flow

    def handle(self, request: WebRequest, *, patient: bool = True) -> WebResponse:
        """The flow's answer.

        Args:
            patient: False if the server has but one thread, which xPay needs.
        """
        if not patient:
            request = attrs.evolve(request, may_wait=False)
        return self.flow.handle(request)


def answering(
    flow: RequestHandler | AsyncRequestHandler,
) -> Callable[[WebRequest], Awaitable[WebResponse]]:
    """How an event loop gets answers: an `AsyncFlow` is awaited, a `Flow` called in threads.

    To cancel it means that the client has hung up: a query that waits in a thread ends, too.
    """
    if is_async(flow):
        return flow.handle
    in_threads = blocking(flow)
    events = Threads("xpay-flow events")
    checkouts = Threads("xpay-flow checkouts")
    # Those who wait hold a thread each, and xPay must not queue behind any customer.
    queries = Threads("xpay-flow queries", flow.settings.status_waiting_threads_max)

    async def answer(request: WebRequest) -> WebResponse:
        if request.method == "POST":
            threads = checkouts if request.path.startswith(CHECKOUT) else events
            return await threads.call(in_threads.handle, request)
        client = HangUp()
        token = hang_up.set(client)
        try:
            return await queries.call(in_threads.handle, request)
        except asyncio.CancelledError:
            client.happened()
            raise
        finally:
            hang_up.reset(token)

    return answer


# --- ASGI ----------------------------------------------------------------------------------------


class ClientGone(Exception):
    """The client disconnected before it was answered."""


class ASGIAnswers:
    """Answers a request as ASGI has it; for every framework on ASGI.

    Args:
        flow: a `Flow` is called in threads, an `AsyncFlow` is awaited.
    """

    def __init__(self, flow: RequestHandler | AsyncRequestHandler) -> None:
        self.flow = flow
        self._answer = answering(flow)

    async def answer(
        self, path: str, scope: Mapping[str, Any], receive: Receive
    ) -> WebResponse | None:
        """The response; None if the client has hung up.

        Args:
            path: relative to where the routes are mounted; begins with "/".
        """
        body = Body(self.flow)
        try:
            is_whole = await read_in_time(body, receive)
        except TimeoutError:
            return last_response(too_slow(), scope)
        except ClientGone:
            return None
        request = WebRequest(
            method=scope["method"],
            path=path,
            query=parse_query(scope["query_string"]),
            headers=tuple(_header(name, value) for name, value in scope["headers"]),
            body=bytes(body),
        )
        # xPay's event is recorded whether or not xPay still listens; others are answered at once.
        if request.method == "POST" or "wait" not in request.query:
            response = await self._answer(request)
        else:
            try:
                response = await _unless_gone(self._answer(request), receive)
            except ClientGone:
                return None
        return response if is_whole else last_response(response, scope)


def _header(name: bytes, value: bytes) -> Header:
    return name.decode("latin-1"), value.decode("latin-1")


async def read_in_time(body: Body, receive: Receive) -> bool:
    """Read as much as is wanted; False if that is not all.

    Raises:
        TimeoutError: it has not arrived within `settings.body_timeout_s`.
        ClientGone: the client has hung up.
    """
    more = True
    async with asyncio.timeout(body.timeout_s):
        while more and body.wanted:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body.add(message.get("body", b""))
            more = message.get("more_body", False)
    return not more


async def _unless_gone(answer: Awaitable[WebResponse], receive: Receive) -> WebResponse:
    """The answer for a customer's page. Raises ClientGone as soon as the page is closed."""
    answered = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({answered, gone}, return_when=asyncio.FIRST_COMPLETED)
        if answered.done():
            return answered.result()
        raise ClientGone
    finally:
        answered.cancel()
        gone.cancel()
        await asyncio.gather(answered, gone, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def last_response(response: WebResponse, scope: Mapping[str, Any]) -> WebResponse:
    """The last response on its connection: what is left of the request's body is not read."""
    if scope.get("http_version", "1.1") not in ("1.0", "1.1"):
        return response  # Later versions have no such header.
    return attrs.evolve(response, headers=(*response.headers, ("Connection", "close")))
