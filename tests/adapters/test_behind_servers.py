"""Each adapter does its duties over a real socket, too, behind a server that shops use."""

from __future__ import annotations

import web_servers
from web_servers import AsgiNow, WsgiNow

from . import test_fastapi, test_flask, test_litestar, test_quart, test_starlette
from .kit import Served


class TestFastAPIBehindUvicorn(Served):
    is_async = True
    waiting_customers = 200
    server, app_now, app_with = web_servers.uvicorn, AsgiNow, test_fastapi.app_with


class TestStarletteBehindUvicorn(Served):
    server, app_now, app_with = web_servers.uvicorn, AsgiNow, test_starlette.app_with


class TestLitestarBehindUvicorn(Served):
    is_async = True
    server, app_now, app_with = web_servers.uvicorn, AsgiNow, test_litestar.app_with


class TestQuartBehindHypercorn(Served):
    is_async = True
    server, app_now, app_with = web_servers.hypercorn, AsgiNow, test_quart.app_with


class TestFlaskBehindWerkzeug(Served):
    hangs_up = False
    server, app_now, app_with = web_servers.werkzeug, WsgiNow, test_flask.app_with


class TestFlaskBehindWaitress(Served):
    hangs_up, gets_whole_bodies = False, True
    server, app_now, app_with = web_servers.waitress, WsgiNow, test_flask.app_with
