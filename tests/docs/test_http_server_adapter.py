"""The adapter of the how-to does all that an adapter must do, on a socket."""

from __future__ import annotations

from typing import Any

import web_servers
from adapters.kit import Served

from examples.http_server_adapter import flow_from, routes
from xpay_flow.adapter_kit import Price
from xpay_flow.testing.adapter_suite import AnyFlow, sync_only


class TestHttpServerAdapter(Served):
    """The server reports no hang-up."""

    hangs_up = False
    server = web_servers.handler

    @staticmethod
    def app_with(flow: AnyFlow, prefix: str, price: Price | None = None) -> Any:
        return routes(sync_only(flow), prefix=prefix, price=price)

    def test_a_handler_knows_its_flow(self) -> None:
        """Code of the user's finds the flow by the same word as in every adapter."""
        world = self.open()
        handler: Any = routes(sync_only(world.flow))
        assert world.flow is flow_from(handler)
