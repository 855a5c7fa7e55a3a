"""How is a thread stopped at every call into its driver, without its help? By its profiler hook.

`sys.setprofile` reports each call of a function in C before it happens (`c_call`), and of each
call of a function in Python. Waiting in the hook parks the thread. Raising in it keeps the call
from happening, so a thread that was killed never reaches its driver again, whatever it catches.

Python takes the hook away when it raises. So a trace function is set for the one event that
follows at once, the exception in the frame that called, and puts the hook back.
"""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, Protocol

from .lookup import Table, place, text_in
from .statements import Driver, Statement

_LOCKS: Final = (type(threading.Lock()), type(threading.RLock()))
_RESUME, _YIELD = (dis.opmap[name] for name in ("RESUME", "YIELD_VALUE"))


class Died(BaseException):
    """Raised where a killed thread would act. No store has a reason to catch it."""


class Listener(Protocol):
    """Receives the reports, on the thread itself. Each method may wait, and may raise instead."""

    @property
    def dead(self) -> bool: ...

    def arrived(self, statement: Statement) -> None:
        """The statement is about to reach its driver."""
        ...

    def passed(self, statement: Statement, failed: bool) -> None:
        """The driver is done with it."""
        ...

    def wants(self, is_free: Callable[[], bool]) -> None:
        """A lock that another thread holds is about to be waited for."""
        ...


class _Unheeding:
    dead = False

    def arrived(self, statement: Statement) -> None: ...

    def passed(self, statement: Statement, failed: bool) -> None: ...

    def wants(self, is_free: Callable[[], bool]) -> None: ...


def unheeded() -> Listener:
    """Lets everything go on."""
    return _Unheeding()


class Watch:
    """The hook of one thread. Also remembers the connections that the thread has used."""

    def __init__(self, table: Table, listener: Listener) -> None:
        self._table, self._listener = table, listener
        # Looked up here: the hook is called very often, and nearly always for nothing.
        self._names, self._codes = table.names_in_c | {"acquire"}, table.codes
        self._inside: Statement | None = None
        self._frame: FrameType | None = None
        self._seen: dict[int, tuple[Driver, Any]] = {}

    @contextmanager
    def on_this_thread(self) -> Generator[None, None, None]:
        """Listen to the thread that enters, until it leaves."""
        before = sys.getprofile()
        sys.setprofile(self._hook)
        try:
            yield
        finally:
            # Another profiler may be written in C, and cannot be put back from here.
            sys.setprofile(before if callable(before) else None)

    @property
    def inside(self) -> Statement | None:
        """The statement that its driver has not answered yet."""
        return self._inside

    def drop(self) -> None:
        """Let go of every connection used here, without a commit."""
        for driver, target in self._seen.values():
            # A connection may be bound to another thread, which then drops it itself.
            with suppress(Exception):
                driver.drop(target)

    # --- what Python reports ----------------------------------------------------------------------

    def _hook(self, frame: FrameType, event: str, arg: Any) -> None:
        if self._inside is not None:
            if frame is not self._frame or event not in ("c_return", "c_exception", "return"):
                return
            if event == "return" and _only_pauses(frame, arg):
                return
        elif event == "c_call":
            if arg.__name__ not in self._names:
                return
        elif event != "call" or frame.f_code not in self._codes or not _begins(frame):
            return
        try:
            self._on_event(frame, event, arg)
        except BaseException:
            self._put_back(frame)
            raise

    def _on_event(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call":
            self._c_call(frame, arg)
        elif event == "call":
            self._python_call(frame)
        else:
            self._returned(event)

    def _c_call(self, frame: FrameType, called: Any) -> None:
        if called.__name__ == "acquire" and isinstance(called.__self__, _LOCKS):
            self._lock(called.__self__)
            return
        entry = self._table.in_c(called, frame)
        if entry is None:
            return
        if entry.opens:
            self._bar_the_dead()
            return
        target = getattr(called, "__self__", None)
        statement = Statement(
            driver=entry.driver, call=entry.call, target=target, where=place(frame)
        )
        self._arrive(statement, frame)

    def _python_call(self, frame: FrameType) -> None:
        entry = self._table.in_python(frame.f_code)
        if entry.opens:
            self._bar_the_dead()
            return
        names = frame.f_locals
        statement = Statement(
            driver=entry.driver,
            call=entry.call,
            target=names.get("self"),
            where=place(frame.f_back),
            texts=text_in(names),
        )
        self._arrive(statement, frame)

    def _arrive(self, statement: Statement, frame: FrameType) -> None:
        self._bar_the_dead()
        self._remember(statement)
        statement.open_before = statement.driver.is_open(statement.target)
        self._listener.arrived(statement)
        # Only now, and each time: the store may set its own patience, a thread its callback.
        statement.driver.surface(statement.target, self._add_text)
        self._inside, self._frame = statement, frame

    def _returned(self, event: str) -> None:
        statement = self._inside
        self._inside = self._frame = None
        assert statement is not None
        statement.open_after = statement.driver.is_open(statement.target)
        # A function in Python that ends by an exception returns None, as one that answers nothing.
        self._listener.passed(statement, failed=event == "c_exception")

    # --- what follows ----------------------------------------------------------------------------

    def _bar_the_dead(self) -> None:
        if self._listener.dead:
            raise Died

    def _remember(self, statement: Statement) -> None:
        if statement.target is not None:
            self._seen[id(statement.target)] = (statement.driver, statement.target)

    def _add_text(self, text: str) -> None:
        if self._inside is not None:
            self._inside.texts.append(text)

    def _lock(self, lock: Any) -> None:
        if not _is_free(lock):
            self._bar_the_dead()
            self._listener.wants(lambda: _is_free(lock))

    def _put_back(self, frame: FrameType) -> None:
        """Have the hook again as soon as the exception is on its way."""
        self._inside = self._frame = None
        before = sys.gettrace()

        def once(_: FrameType, event: str, __: Any) -> Any:
            if event == "exception":
                sys.settrace(before)
                sys.setprofile(self._hook)
            return once

        for caller in (frame, frame.f_back):
            if caller is not None:
                caller.f_trace, caller.f_trace_lines = once, False
        sys.settrace(_nothing_more)


def _begins(frame: FrameType) -> bool:
    """Whether it is called; a coroutine that goes on after a wait is reported in the same way."""
    code, at = frame.f_code.co_code, frame.f_lasti
    return code[at] == _RESUME and code[at + 1] & 3 == 0


def _only_pauses(frame: FrameType, value: Any) -> bool:
    """Whether a coroutine waits for something, and has not ended; an error gives nothing back."""
    return value is not None and frame.f_code.co_code[frame.f_lasti] == _YIELD


def _is_free(lock: Any) -> bool:
    # Tried and not queried: an RLock cannot be queried, and one's own counts as free.
    if lock.acquire(blocking=False):
        lock.release()
        return True
    return False


def _nothing_more(_: FrameType, __: str, ___: Any) -> None:
    """For frames that begin meanwhile."""
