"""How does a request reach a shop's app without a socket? ASGI, WSGI, Django and aiohttp, alike.

An app that blocks is called in the thread of the test, so that a handler sees the test's database
connection. One that is awaited has an event loop of its own, which runs only during a call.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from contextvars import copy_context
from typing import Any, Final, Protocol, TypeVar

import httpx

from xpay_flow.errors import ConfigurationError

T = TypeVar("T")

# Secure, so that cookies and redirects behave as in production; Django's tests know the name.
BASE_URL: Final = "https://testserver"
# Marks a request for which nothing holds that is made easier for tests, such as CSRF tokens.
FROM_XPAY: Final = "xpay_flow.from_xpay"
# Longer than any request of a test takes on a busy machine.
ANSWERED_S: Final = 60.0


class Mounted(Protocol):
    """An app that can be sent requests."""

    def send(self, request: httpx.Request) -> httpx.Response:
        """The app's answer."""
        ...

    def run(self, awaited: Awaitable[T]) -> T:
        """The result of what belongs to the app's event loop."""
        ...


@contextmanager
def mounted(app: Any = None, *, lifespan: bool = True) -> Generator[Mounted, None, None]:
    """An app between its start-up and its shut-down.

    Args:
        app: ASGI, WSGI or an aiohttp application; nothing for Django's own project.
        lifespan: False leaves out both of them.
    """
    with ExitStack() as stack:
        if app is None or type(app).__module__.startswith("django."):
            yield stack.enter_context(_django())
        elif type(app).__module__.startswith("aiohttp."):
            yield stack.enter_context(_aiohttp(app, lifespan))
        elif is_asgi(app):
            yield stack.enter_context(_asgi(app, lifespan))
        elif callable(app):
            yield _WSGI(app)
        else:
            raise ConfigurationError(
                f"an object of type {type(app).__name__} is no app: neither ASGI nor WSGI"
            )


def client_of(app: Mounted) -> httpx.Client:
    """A customer's browser: an httpx client that keeps cookies, and opens no socket."""
    return httpx.Client(transport=_Transport(app), base_url=BASE_URL)


class _Transport(httpx.BaseTransport):
    def __init__(self, app: Mounted) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return self._app.send(request)


def is_asgi(app: Any) -> bool:
    """Whether an app is awaited; if not, it is WSGI."""
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(
        getattr(app, "__call__", None)  # noqa: B004 - whether it is a coroutine function
    )


# --- WSGI ----------------------------------------------------------------------------------------


class _WSGI:
    def __init__(self, app: Any) -> None:
        self._transport = httpx.WSGITransport(app)

    def send(self, request: httpx.Request) -> httpx.Response:
        response = self._transport.handle_request(request)
        response.read()
        return response

    def run(self, awaited: Awaitable[T]) -> T:
        return asyncio.run(_limited(awaited))


# --- in an event loop ----------------------------------------------------------------------------


class _Loop:
    """An event loop that runs only during a call, so that a test may have its own."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def run(self, awaited: Awaitable[T]) -> T:
        return _outside_of_loops(lambda: self._runner.run(_limited(awaited)))

    def close(self) -> None:
        _outside_of_loops(self._runner.close)


def _outside_of_loops(call: Callable[[], T]) -> T:
    """What `call` returns. In a test that is a coroutine itself it has a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call()
    with ThreadPoolExecutor(1, "xpay-flow test") as pool:
        return pool.submit(copy_context().run, call).result(2 * ANSWERED_S)


async def _limited(awaited: Awaitable[T]) -> T:
    async with asyncio.timeout(ANSWERED_S):
        return await awaited


class _ASGI(_Loop):
    def __init__(self, app: Any) -> None:
        super().__init__()
        self._transport = httpx.ASGITransport(app)

    def send(self, request: httpx.Request) -> httpx.Response:
        return self.run(self._answered(request))

    async def _answered(self, request: httpx.Request) -> httpx.Response:
        response = await self._transport.handle_async_request(request)
        content = await response.aread()
        return httpx.Response(response.status_code, headers=response.headers, content=content)


@contextmanager
def _asgi(app: Any, lifespan: bool) -> Generator[Mounted, None, None]:
    with closing(_ASGI(app)) as served:
        around = _Lifespan(app)
        if lifespan:
            served.run(around.start())
        try:
            yield served
        finally:
            served.run(around.stop())


class _Lifespan:
    """What a server does with an ASGI app before the first request, and after the last one."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises ConfigurationError if the app reports that it cannot start."""
        self._events = asyncio.Queue[str]()
        self._answers = asyncio.Queue[dict[str, Any]]()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        called: Coroutine[Any, Any, None] = self._app(scope, self._receive, self._answers.put)
        self._task = asyncio.create_task(called)
        answer = await self._answer("startup")
        if answer is None:
            # ASGI lets an app that has no lifespan raise; requests will show whether it works.
            self._task = None
        elif answer["type"] == "lifespan.startup.failed":
            self._task = None
            raise ConfigurationError(f"the app does not start: {answer.get('message', '')}")

    async def stop(self) -> None:
        if self._task is not None and not self._task.done():
            await self._answer("shutdown")
            await asyncio.wait({self._task}, timeout=ANSWERED_S)

    async def _receive(self) -> dict[str, Any]:
        return {"type": f"lifespan.{await self._events.get()}"}

    async def _answer(self, event: str) -> dict[str, Any] | None:
        assert self._task is not None
        await self._events.put(event)
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait({self._task, answer}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        self._task.exception()
        return None


# --- Django --------------------------------------------------------------------------------------


class _Django:
    """Django's own test client: the test's thread, and so its transaction."""

    def __init__(self) -> None:
        from django.test import Client

        self._clients = {strict: Client(enforce_csrf_checks=strict) for strict in (True, False)}

    def send(self, request: httpx.Request) -> httpx.Response:
        headers = {
            f"HTTP_{name.upper().replace('-', '_')}": value
            for name, value in request.headers.items()
            if name not in ("content-type", "content-length")
        }
        more: dict[str, Any] = {
            **headers,
            "QUERY_STRING": request.url.query.decode("ascii"),
        }
        answer = self._clients[FROM_XPAY in request.extensions].generic(
            request.method,
            request.url.path,
            request.content,
            request.headers.get("content-type", ""),
            secure=True,
            **more,
        )
        cookies = [("Set-Cookie", morsel.OutputString()) for morsel in answer.cookies.values()]
        return httpx.Response(
            answer.status_code,
            headers=[*answer.headers.items(), *cookies],
            content=b"".join(answer),
        )

    def run(self, awaited: Awaitable[T]) -> T:
        # What Django does in threads is done in this one, as Django's own test client has it.
        from asgiref.sync import async_to_sync

        return async_to_sync(_limited)(awaited)


@contextmanager
def _django() -> Generator[Mounted, None, None]:
    try:
        from django.conf import settings
        from django.core.exceptions import ImproperlyConfigured
        from django.test import override_settings
    except ImportError:
        raise ConfigurationError(_NO_APP) from None
    try:
        hosts = [*settings.ALLOWED_HOSTS, "testserver"]
    except ImproperlyConfigured:
        raise ConfigurationError(_NO_APP) from None
    with override_settings(ALLOWED_HOSTS=hosts):
        yield _Django()


_NO_APP: Final = (
    "name the app: xpay_app = shop.main:app among pytest's settings, or a fixture xpay_app; "
    "a Django project needs none, but its settings"
)


# --- aiohttp -------------------------------------------------------------------------------------


class _Aiohttp(_Loop):
    def __init__(self, app: Any) -> None:
        super().__init__()
        self._app = app

    def send(self, request: httpx.Request) -> httpx.Response:
        return self.run(self._answered(request))

    async def _answered(self, request: httpx.Request) -> httpx.Response:
        from aiohttp import streams
        from aiohttp.base_protocol import BaseProtocol
        from aiohttp.test_utils import make_mocked_request
        from aiohttp.web import HTTPException
        from multidict import CIMultiDict

        loop = asyncio.get_running_loop()
        payload = streams.StreamReader(BaseProtocol(loop), len(request.content) + 1, loop=loop)
        payload.feed_data(request.content)
        payload.feed_eof()
        made = make_mocked_request(
            request.method,
            request.url.raw_path.decode("ascii"),
            headers=CIMultiDict(request.headers.multi_items()),
            payload=payload,
            app=self._app,
        )
        try:
            answer = await self._app._handle(made)
        except HTTPException as error:
            answer = error
        content = answer.body if isinstance(answer.body, bytes) else b""
        cookies = [("Set-Cookie", morsel.OutputString()) for morsel in answer.cookies.values()]
        return httpx.Response(
            answer.status, headers=[*answer.headers.items(), *cookies], content=content
        )


@contextmanager
def _aiohttp(app: Any, lifespan: bool) -> Generator[Mounted, None, None]:
    with closing(_Aiohttp(app)) as served:
        app.freeze()
        if lifespan:
            served.run(app.startup())
        try:
            yield served
        finally:
            if lifespan:
                served.run(app.cleanup())
