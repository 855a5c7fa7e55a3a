"""What is one request to the app? A process of its own, forked, that stops at its gate.

A process, so that it can die as one: no `finally`, no memory, open transactions rolled back by the
database. And as behind a server with several workers, requests share nothing but the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import random
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Coroutine, Generator, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from xpay_flow.errors import ConfigurationError

from . import points
from .gate import GATE
from .points import At, Blocked, Done, Ended, Message, Order, Point

# A request that comes to no statement, call or answer for so long loops, or waits for another.
SILENT_S_MAX: Final = 30
# Threads that an app has begun in a request are given so long to end, as by a server that lives on.
THREADS_S_MAX: Final = 2.0
HOST: Final = "shop.example"


@attrs.frozen(kw_only=True)
class Request:
    """One HTTP request to the app."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@attrs.frozen(kw_only=True)
class Served:
    """An app, and how it is called.

    Args:
        is_asgi: called as ASGI; if not, as WSGI.
        errors: a file that takes what the app prints.
    """

    app: Any
    is_asgi: bool
    errors: str = os.devnull


def forked(
    work: Callable[[Connection], object], output: str = os.devnull
) -> tuple[int, Connection]:
    """A new process that does some work and ends; its number, and our end of a pipe to it."""
    ours, theirs = Pipe()
    with warnings.catch_warnings():
        # Threads of the process that runs the check have no part in it.
        warnings.simplefilter("ignore", DeprecationWarning)
        number = os.fork()
    if number:
        theirs.close()
        return number, ours
    try:
        ours.close()
        if output:
            _redirect_output(output)
        work(theirs)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(0)


def _redirect_output(path: str) -> None:
    sink = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    sys.stdout = sys.stderr = io.TextIOWrapper(io.FileIO(sink, "w"), line_buffering=True)


@contextlib.contextmanager
def quiet(path: str) -> Generator[None, None, None]:
    """What is printed goes into a file."""
    before = sys.stdout, sys.stderr
    with open(path, "a") as file:
        sys.stdout = sys.stderr = file
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def close_pools() -> None:
    """Let go of connections that this process keeps, since those that it forks may not use them."""
    engines = getattr(sys.modules.get("sqlalchemy.engine"), "Engine", ())
    for found in gc.get_objects():
        if engines and isinstance(found, engines):
            found.dispose()
    django = sys.modules.get("django.db")
    if django is not None:
        django.connections.close_all()


def ended(number: int, kill: bool = False) -> None:
    """Wait for the end of a process, which comes by itself or at once."""
    if kill:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(number, 0)


class Delivery:
    """One request under way, as the search sees it.

    Args:
        name: in traces.
        subject: what it is about, in words.
    """

    def __init__(self, served: Served, request: Request, name: str, subject: str) -> None:
        self.name, self.subject, self.request = name, subject, request
        self.at: Point | None = None
        self.error = ""
        self.status = 0
        self.raised = ""
        self.is_over = self.is_blocked = self.is_hung = self.has_died = False
        # Something that lasts was done by its last transition.
        self.has_lasted = True
        self._number, self._pipe = forked(
            lambda pipe: _serve(pipe, served, request, name), served.errors
        )

    def begin(self) -> None:
        """Wait until it stands at its first point."""
        self._received()

    def go(self, order: Order = "go") -> Done:
        """Let it do what it stands at, and come to its next point."""
        self.is_blocked = self.is_hung = False
        self._pipe.send(order)
        return self._received() or Done()

    def die(self) -> None:
        """As a process that is killed."""
        if not self.is_over:
            ended(self._number, kill=True)
            self._pipe.close()
        self.is_over, self.at = True, None

    def _received(self) -> Done | None:
        message = self._message()
        if isinstance(message, Blocked):
            self.is_blocked, self.error = True, message.error
            return Done(error=message.error)
        if isinstance(message, At):
            self.at = message.point
            if self.at.kind == "answer":
                self.status = int(self.at.text)
            return message.done
        self.at, self.raised, self.is_over = None, message.raised, True
        ended(self._number)
        self._pipe.close()
        return message.done

    def _message(self) -> Message:
        if not self._pipe.poll(SILENT_S_MAX):
            self.die()
            raise ConfigurationError(
                f"the app has run for {SILENT_S_MAX} s after {self.name} began or went on, without "
                "a statement, a call or an answer: it loops, or waits for what no one else does"
            )
        try:
            message: Message = self._pipe.recv()
        except EOFError:
            return Ended(raised="the process ended by itself")
        return message


# --- in the process itself -----------------------------------------------------------------------


def _serve(pipe: Connection, served: Served, request: Request, name: str) -> None:
    random.seed(name)
    raised = ""
    try:
        call = _asgi if served.is_asgi else _wsgi
        call(pipe, served.app, request)
    except Exception as error:
        traceback.print_exc()
        raised = points.words(error)
    _join_threads()
    pipe.send(Ended(done=GATE.open(), raised=raised))


def call_once(served: Served, request: Request) -> None:
    """One request in this process, with an open gate."""
    (_asgi if served.is_asgi else _wsgi)(None, served.app, request)


def _answer(status: int) -> None:
    """The answer is complete, and goes on its way to xPay."""
    if not GATE.is_closed:
        return
    GATE.step(Point(kind="answer", text=str(status)), lambda: None, lost=ConnectionResetError)


def _join_threads() -> None:
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(THREADS_S_MAX)


def _asgi(pipe: Connection | None, app: Any, request: Request) -> None:
    asyncio.run(_in_loop(pipe, app, request))


async def _in_loop(pipe: Connection | None, app: Any, request: Request) -> None:
    lifespan = await _started(app)
    GATE.close(pipe)
    answered = asyncio.Event()
    incoming = [{"type": "http.request", "body": request.body, "more_body": False}]
    status = [500]

    async def receive() -> Mapping[str, Any]:
        if incoming:
            return incoming.pop()
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            status[0] = message["status"]
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            if not answered.is_set():
                _answer(status[0])
            answered.set()

    try:
        await app(_scope(request), receive, send)
    finally:
        if not answered.is_set():
            _answer(500)
        if lifespan is not None:
            lifespan.cancel()


async def _started(app: Any) -> asyncio.Task[None] | None:
    """The app's lifespan, if it has one; it is begun as by a server, and never ends well."""
    started = asyncio.Event()
    begun = [{"type": "lifespan.startup"}]

    async def receive() -> Mapping[str, Any]:
        if begun:
            return begun.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(_: Mapping[str, Any]) -> None:
        started.set()

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    running: Coroutine[Any, Any, None] = app(scope, receive, send)
    task = asyncio.create_task(running)
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({task, waiting}, timeout=SILENT_S_MAX, return_when="FIRST_COMPLETED")
    waiting.cancel()
    if task.done():
        # An app that has no lifespan raises, as ASGI lets it.
        task.exception()
        return None
    return task


def _scope(request: Request) -> dict[str, Any]:
    url = urlsplit(request.path)
    headers = [(name.lower().encode(), value.encode()) for name, value in _headers(request)]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https",
        "path": url.path,
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "root_path": "",
        "headers": headers,
        "server": (HOST, 443),
        "client": ("192.0.2.1", 40_000),
        "state": {},
    }


def _headers(request: Request) -> tuple[tuple[str, str], ...]:
    length = str(len(request.body))
    common = (("Host", HOST), ("Content-Type", "application/json"), ("Content-Length", length))
    return (*common, *request.headers)


def _wsgi(pipe: Connection | None, app: Any, request: Request) -> None:
    url = urlsplit(request.path)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": url.path,
        "QUERY_STRING": url.query,
        "SERVER_NAME": HOST,
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in _headers(request):
        word = name.upper().replace("-", "_")
        environ[word if word in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{word}"] = value
    GATE.close(pipe)
    status = [500]

    def start_response(line: str, *_: Any) -> Callable[[bytes], object]:
        status[0] = int(line.split()[0])
        return lambda _: None

    is_answered = False
    try:
        body = app(environ, start_response)
        for _ in body:
            pass
        is_answered = True
        _answer(status[0])
        getattr(body, "close", lambda: None)()
    finally:
        if not is_answered:
            _answer(500)
