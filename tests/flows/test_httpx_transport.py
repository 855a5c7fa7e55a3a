"""Does the transport over httpx keep its connections to itself, and obey the environment?"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

import pytest
import web_servers

from xpay_flow.errors import ConfigurationError
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.httpx_transport import AsyncHttpxTransport, HttpxTransport
from xpay_flow.ports import HttpRequest, NoAnswer
from xpay_flow.settings import Settings


class _Keeping(BaseHTTPRequestHandler):
    """Answers, keeps the connection, and notes from which port each request came."""

    protocol_version = "HTTP/1.1"
    ports: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        self.ports.append(self.client_address[1])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *words: Any) -> None:
        return


@contextmanager
def served() -> Iterator[str]:
    """The address of a server that answers."""
    with web_servers.handler(_Keeping) as port:
        yield f"http://127.0.0.1:{port}"


def test_httpx_transport_has_connections_of_its_own_after_a_fork() -> None:
    """After a fork, no two processes write on one (TLS) connection or read each other's answers."""
    with served() as url:
        transport = HttpxTransport(Settings.sandbox())
        request = HttpRequest("GET", f"{url}/", {})
        transport.send(request)
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                transport.send(request)
            theirs.send(b"x")
            os._exit(0)
        ours.settimeout(10)
        ours.recv(1)
        os.waitpid(child, 0)
        ours.close()
        theirs.close()
        transport.close()
    assert 2 == len(set(_Keeping.ports))


# --- the environment -----------------------------------------------------------------------------

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
BROKEN = {
    "HTTP_PROXY": "foo://127.0.0.1:9",
    "HTTPS_PROXY": "http://[::1",
    "ALL_PROXY": "socks9://127.0.0.1:9",
    "http_proxy": "foo://user:hunter2@127.0.0.1:9",
    "SSL_CERT_FILE": "/nonexistent",
}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("face", [Flow, AsyncFlow])
@pytest.mark.parametrize("variable", BROKEN)
def test_a_broken_variable_stops_the_start_by_its_name(
    variable: str, face: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy or certificates that cannot be used are an error of ours, and show no password."""
    monkeypatch.setenv(variable, BROKEN[variable])
    with pytest.raises(
        ConfigurationError, match=f"client for xPay cannot be made: {variable} "
    ) as e:
        face.open("memory://", Settings.sandbox(), background=False)
    assert "hunter2" not in str(e.value)


def test_a_socks_proxy_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is missing, the error names the variable and what to install."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ConfigurationError, match=r"ALL_PROXY names a SOCKS proxy.*httpx\[socks\]"):
        HttpxTransport(Settings.sandbox())


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
def test_loopback_needs_no_proxy(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes to the local xPay goes there directly, whatever the environment names."""
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with served() as url, HttpxTransport(Settings.sandbox(base_url=url)) as transport:
        assert 200 == transport.send(HttpRequest("GET", f"{url}/", {})).status

    async def awaited(url: str) -> int:
        transport = AsyncHttpxTransport(Settings.sandbox(base_url=url))
        try:
            return (await transport.send(HttpRequest("GET", f"{url}/", {}))).status
        finally:
            await transport.aclose()

    with served() as url:
        assert 200 == asyncio.run(awaited(url))


def test_other_hosts_go_by_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names is used for all but this machine."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    near = Settings.sandbox(base_url="http://xpay.internal:4010")
    with HttpxTransport(near) as transport, pytest.raises(NoAnswer, match="ConnectError"):
        transport.send(HttpRequest("GET", f"{near.base_url}/", {}))
    with served() as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        with HttpxTransport(near) as transport:
            assert 200 == transport.send(HttpRequest("GET", f"{near.base_url}/", {})).status
