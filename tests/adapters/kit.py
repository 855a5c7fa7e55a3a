"""What have the tests of all adapters in common? An app with the routes, in process or served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest
import web_servers
from web_servers import Serves

from xpay_flow.adapter_kit import Price
from xpay_flow.testing.adapter_suite import AdapterSuite, AnyFlow, Client
from xpay_flow.testing.server_client import server_client


class InProcess(AdapterSuite):
    """Subclass it with `app_with(flow, prefix, price)` and `client_of(app)`."""

    app_with: ClassVar[Any]
    client_of: ClassVar[Any]

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return type(self).client_of(type(self).app_with(flow, prefix))

    def make_priced_client(self, flow: AnyFlow, prefix: str, price: Price) -> Client:
        return type(self).client_of(type(self).app_with(flow, prefix, price))


class Served(AdapterSuite):
    """Subclass it with `app_with(flow, prefix, price)` and a server out of `web_servers`.

    The server is one for the class, which takes longer to start and to end than most duties do; it
    serves whatever app the test has made last.

    Attributes:
        hangs_up: the server reports a client that hangs up, and a body that comes slowly.
    """

    is_served = True
    hangs_up = True
    server: ClassVar[Serves]
    app_with: ClassVar[Any]
    # Frameworks whose app is more than a function have a server for each.
    app_now: ClassVar[type[web_servers.AppNow] | None] = None
    now: ClassVar[web_servers.AppNow]
    port: ClassVar[int]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _server_of_the_class(cls) -> Iterator[None]:
        if cls.app_now is None:
            yield
            return
        cls.now = cls.app_now()
        with cls.server(cls.now) as cls.port:
            yield

    def make_client(self, flow: AnyFlow, prefix: str) -> Client:
        return self._client(type(self).app_with(flow, prefix))

    def make_priced_client(self, flow: AnyFlow, prefix: str, price: Price) -> Client:
        return self._client(type(self).app_with(flow, prefix, price))

    def close(self) -> None:
        self.__dict__.pop("servers", ExitStack()).close()
        super().close()

    def _client(self, app: Any) -> Client:
        if self.app_now is not None:
            self.now.app, port = app, self.port
        else:
            servers = self.__dict__.setdefault("servers", ExitStack())
            port = servers.enter_context(type(self).server(app))
        return server_client("127.0.0.1", port, hangs_up=self.hangs_up)
