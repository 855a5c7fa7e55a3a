"""Does the transport over httpx keep its connections to itself?"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from xpay_flow.httpx_transport import HttpxTransport
from xpay_flow.ports import HttpRequest
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


def test_httpx_transport_has_connections_of_its_own_after_a_fork() -> None:
    """After a fork, no two processes write on one (TLS) connection or read each other's answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Keeping)
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        transport = HttpxTransport(Settings.sandbox())
        request = HttpRequest("GET", f"http://127.0.0.1:{server.server_address[1]}/", {})
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
    finally:
        server.shutdown()
        server.server_close()
        serving.join(5)
    assert 2 == len(set(_Keeping.ports))
