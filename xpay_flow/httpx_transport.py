"""How does a request get to xPay? Over httpx, blocking or awaiting.

One deadline holds for a whole exchange: name look-up, connection, and every byte of the answer.
Redirects are not followed (they could carry the keys elsewhere), and an answer is read up to a
limit.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx

from .call_within import TooManyCalls, call_within
from .errors import ConfigurationError, quoted
from .event_loop import LoopOwner
from .ports import HttpRequest, HttpResponse, NoAnswer
from .settings import Settings
from .wire import is_loopback

# xPay's largest documented answer, a list of 100 intents, is far below this.
ANSWER_BYTES_MAX = 4 * 1024 * 1024


class HttpxTransport:
    """The shipped transport of a synchronous program. Threads may share one, processes too.

    Args:
        client: your own; it must not be used across a fork.
    """

    def __init__(self, settings: Settings, *, client: httpx.Client | None = None) -> None:
        self._settings = settings
        self._client = client or _built(httpx.Client, settings)
        self._pid = None if client else os.getpid()
        self._lock = threading.Lock()

    def _here(self) -> httpx.Client:
        """The client of this process: parent and child must not share a connection."""
        if self._pid not in (None, os.getpid()):
            self._client, self._pid = _built(httpx.Client, self._settings), os.getpid()
        return self._client

    def send(self, request: HttpRequest) -> HttpResponse:
        """One exchange; raises NoAnswer when no whole response came back in time."""
        client, timeout_s = self._here(), _timeout_s(self._settings, request)
        try:
            return call_within(timeout_s, lambda: _exchange(client, request))
        except NoAnswer:
            raise
        except TimeoutError as error:
            self._retire(client)
            raise NoAnswer(f"no whole answer within {timeout_s:g} s") from error
        except TooManyCalls as error:
            raise NoAnswer(f"{error}, so this request was not sent") from error
        except Exception as error:
            raise _no_answer(error) from error

    def _retire(self, client: httpx.Client) -> None:
        """Have the next exchange use new connections, and close these once no call can use them.

        That also ends the thread of an answer which still comes in, byte by byte.
        """
        with self._lock:
            if self._pid is None or self._client is not client:
                return
            self._client = _built(httpx.Client, self._settings)
        closing = threading.Timer(_timeout_s(self._settings), client.close)
        closing.daemon = True
        closing.start()

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> HttpxTransport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncHttpxTransport:
    """The shipped transport of an asynchronous program.

    It belongs to one event loop at a time; see `xpay_flow.event_loop`.

    Args:
        client: your own, which belongs to the first event loop only.
    """

    def __init__(self, settings: Settings, *, client: httpx.AsyncClient | None = None) -> None:
        self._settings = settings
        self._client = client or _built(httpx.AsyncClient, settings)
        self._is_of_caller = client is not None
        self._owner = LoopOwner("this AsyncHttpxTransport", self._begin_afresh)

    def enter_event_loop(self) -> None:
        """The running event loop uses it. Raises ConfigurationError where it cannot."""
        self._owner.enter()

    def _begin_afresh(self) -> None:
        if self._is_of_caller:
            raise ConfigurationError(
                "the httpx.AsyncClient that you gave belongs to an event loop that has ended: make "
                "a flow for each event loop; nothing was stored or sent"
            )
        # Its connections end with their loop, and cannot be closed in another.
        self._client = _built(httpx.AsyncClient, self._settings)

    async def send(self, request: HttpRequest) -> HttpResponse:
        """One exchange; raises NoAnswer when no whole response came back in time."""
        self.enter_event_loop()
        timeout_s = _timeout_s(self._settings, request)
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._client.stream(**_arguments(request)) as response,
            ):
                body = b""
                async for chunk in response.aiter_bytes():
                    body = _joined(body, chunk)
        except NoAnswer:
            raise
        except TimeoutError as error:
            raise NoAnswer(f"no whole answer within {timeout_s:g} s") from error
        except Exception as error:
            raise _no_answer(error) from error
        return _response(response, body)

    async def aclose(self) -> None:
        """Close the connections; those of a loop that has ended are closed already."""
        with suppress(ConfigurationError):
            self.enter_event_loop()
            await self._client.aclose()


C = TypeVar("C", httpx.Client, httpx.AsyncClient)


def _built(kind: type[C], settings: Settings) -> C:
    """A client, which obeys the environment's variables for proxies and certificates.

    Raises:
        ConfigurationError: one of them cannot be used; the text has its name.
    """
    host = urlsplit(settings.base_url).hostname or ""
    # What goes to this machine needs no proxy, and its keys are the sandbox's alone.
    mounts: Any = {f"all://{_bracketed(host)}": None} if is_loopback(host) else None
    timeout = httpx.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s)
    headers = {"User-Agent": "xpay-flow"}
    try:
        return kind(timeout=timeout, follow_redirects=False, headers=headers, mounts=mounts)
    except Exception as error:
        raise ConfigurationError(
            f"the client for xPay cannot be made: {_culprit(kind) or quoted(error)}"
        ) from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def _culprit(kind: type[C]) -> str | None:
    """Which variable is at fault: the first that fails without the others, too."""
    looks: dict[str, Callable[[str], object]] = {
        **dict.fromkeys(_PROXIES, lambda value: _with_proxy(kind, value)),
        # As httpx reads them.
        "NO_PROXY": lambda value: [
            httpx.URL(f"all://*{host.strip()}") for host in value.split(",")
        ],
        "SSL_CERT_FILE": lambda value: ssl.create_default_context(cafile=value),
        "SSL_CERT_DIR": lambda value: ssl.create_default_context(capath=value),
    }
    for name, look in looks.items():
        for variable in (name, name.lower()):
            if value := os.environ.get(variable):
                try:
                    look(value)
                except ImportError:
                    return (
                        f"{variable} names a SOCKS proxy, which needs: pip install 'httpx[socks]'"
                    )
                except Exception as error:
                    # The value itself may hold a password.
                    return f"{variable} cannot be used ({type(error).__name__})"
    return None


def _with_proxy(kind: type[C], value: str) -> C:
    return kind(proxy=value if "://" in value else f"http://{value}", trust_env=False)


def _arguments(request: HttpRequest) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": request.url,
        "headers": dict(request.headers),
        "content": request.body or None,
    }


def _timeout_s(settings: Settings, request: HttpRequest | None = None) -> float:
    """How long a whole exchange may take, and no longer than its caller waits."""
    whole_s = settings.connect_timeout_s + settings.read_timeout_s
    return whole_s if request is None else min(whole_s, max(0.0, request.within_s))


def _exchange(client: httpx.Client, request: HttpRequest) -> HttpResponse:
    with client.stream(**_arguments(request)) as response:
        body = b""
        for chunk in response.iter_bytes():
            body = _joined(body, chunk)
    return _response(response, body)


def _joined(body: bytes, chunk: bytes) -> bytes:
    if len(body) + len(chunk) > ANSWER_BYTES_MAX:
        raise NoAnswer(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
    return body + chunk


def _no_answer(error: Exception) -> NoAnswer:
    # The text of httpx names the failure, not the address or the keys.
    return NoAnswer(f"{type(error).__name__}: {str(error)[:200]}")


def _response(response: httpx.Response, body: bytes) -> HttpResponse:
    return HttpResponse(response.status_code, dict(response.headers), body)
