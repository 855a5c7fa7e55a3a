"""How does `xpay-flow doctor` reach a mount? In this process by the app's name, or at its address.

An app in this process is given an empty store in memory for as long as it is probed, its background
loops do not start, and its start-up does not run: nothing of the shop's is read or written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import httpx

from xpay_flow import ConfigurationError, Flow, Settings
from xpay_flow.import_target import named
from xpay_flow.ports import Store
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.testing.mounted import BASE_URL, FROM_XPAY, mounted
from xpay_flow.testing.takeover import AnyFlow, flow_behind, has_background, with_ports

# A server that has not answered by then does not answer xPay either.
ANSWERED_S: Final = 10.0
WEBHOOK: Final = "/webhook"


@attrs.frozen(kw_only=True)
class Reply:
    """What came back; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    took_s: float


Send = Callable[[str, str, Mapping[str, str], bytes], Reply]


@attrs.frozen(kw_only=True)
class Mount:
    """Where the routes of a flow are.

    Args:
        send: method, path below the mount, headers and body; gives the reply.
        begin_body: sends a webhook whose body does not arrive, and waits so many seconds; gives the
            status, or None if there was none. Only at an address.
        flow: of an app in this process.
        store: the shop's own, where it is a blocking one.
        works: whether the app itself calls handlers, in the background.
    """

    send: Send
    settings: Settings | None
    begin_body: Callable[[float], int | None] | None = None
    flow: AnyFlow | None = None
    store: Store | None = None
    works: bool = False


@contextmanager
def mount_at(target: str, webhook: str, settings: Settings | None) -> Generator[Mount, None, None]:
    """The mount that `--app` names.

    Args:
        target: `module:app`, or the address of the webhook or of what it is below.
        webhook: the path of the webhook in an app.
        settings: of this environment, for an address.

    Raises:
        ConfigurationError: there is no such app, or no flow in it.
    """
    if target.startswith(("http://", "https://")):
        yield _at_address(target, settings)
    else:
        app, _ = named(target, "MODULE:APP, such as shop.main:app, or an address (https://…)")
        with mounted(app, lifespan=False) as served:
            flow = flow_behind(served, webhook)
            prefix, own = webhook.removesuffix(WEBHOOK), flow.settings
            store = flow.store if isinstance(flow, Flow) else None
            works = has_background(flow)

            def send(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
                request = httpx.Request(
                    method,
                    httpx.URL(BASE_URL).join(prefix + path),
                    headers=dict(headers),
                    content=body,
                    extensions={FROM_XPAY: True},
                )
                began = time.monotonic()
                answer = served.send(request)
                return Reply(
                    status=answer.status_code,
                    headers=dict(answer.headers),
                    body=answer.content,
                    took_s=time.monotonic() - began,
                )

            with with_ports(flow, store=MemoryStore(), settings=own, transport=_Unreachable()):
                yield Mount(send=send, settings=own, flow=flow, store=store, works=works)


class _Unreachable:
    """No probe leads to a call of xPay."""

    def send(self, request: object) -> Any:
        raise ConfigurationError(f"a probe must not call xPay ({type(request).__name__})")


def _at_address(address: str, settings: Settings | None) -> Mount:
    parts = urlsplit(address)
    if not parts.hostname:
        raise ConfigurationError("write an address such as https://shop.example/xpay/webhook")
    host, port, is_secure = parts.hostname, parts.port, parts.scheme == "https"
    prefix = parts.path.removesuffix("/").removesuffix(WEBHOOK)

    def connect(timeout_s: float) -> HTTPConnection:
        kind = HTTPSConnection if is_secure else HTTPConnection
        return kind(host, port, timeout=timeout_s)

    def send(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        connection, began = connect(ANSWERED_S), time.monotonic()
        try:
            connection.request(method, prefix + path, body, dict(headers))
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException) as error:
            raise ConfigurationError(f"{address} does not answer: {error}") from error
        finally:
            connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        took_s = time.monotonic() - began
        return Reply(status=answer.status, headers=found, body=content, took_s=took_s)

    def begin_body(wait_s: float) -> int | None:
        connection = connect(wait_s)
        try:
            connection.putrequest("POST", prefix + WEBHOOK)
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", "1000")
            connection.endheaders(b"{")
            return connection.getresponse().status
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    return Mount(send=send, settings=settings, begin_body=begin_body)
