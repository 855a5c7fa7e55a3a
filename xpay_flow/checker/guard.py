"""What may code under check not touch? Whatever the checker cannot see, choose or repeat.

While it runs, a profile hook sees every call before it is made, and refuses those that bring in the
wall clock, randomness or the environment, or that reach out to threads, processes and the network.
Opening a file for writing is seen by an audit hook, which alone receives the mode; an audit hook
cannot be taken away again, so once used it stays, and does nothing outside a guard.

A call counts when the user's code made it, itself or through a library. It does not when it serves
an import or a log line, when asyncio keeps its own time, when a callback watches the garbage
collector, or when we made it.

Not seen: `time.localtime()` and its like, which are pure when given a time; the order of
sets of strings; file reads; and what an extension module does without calling Python.
"""

from __future__ import annotations

import _thread
import gc
import os
import random
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Set
from datetime import date, datetime
from functools import cache
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, TracebackType
from typing import Any, Final

import attrs

from .hidden import HiddenInput
from .theirs import owner_of, place_of


@attrs.frozen
class Input:
    """Something that code under check may not call.

    Args:
        name: such as `time.time`.
        kind: the word that allows it and all its likes.
    """

    name: str
    kind: str


INSTEAD: Final = {
    "clock": "take the time from the clock port, `ports.clock.now_ms()`",
    "sleep": "wait with the clock port, `ports.clock.pause(seconds)`",
    "randomness": "take fresh names from the ids port, `ports.ids.new(prefix)`",
    "environment": "read the environment once, at start-up, and pass on what was read",
    "network": "send requests through the transport port, `ports.transport.send(request)`",
    "threads": "do it in this function; asyncio tasks of one delivery are fine",
    "processes": "leave it to a handler's outside world",
    "files": "keep it in the store, `ports.store.commit(change)`",
}
WRITING: Final = frozenset("wax+")
# These make files and folders; their names are drawn from a generator that was seeded long ago.
MAKING: Final = ("os.mkdir", "tempfile.mkdtemp", "tempfile.mkstemp")
AUDITED: Final = frozenset({"open", *MAKING})
WRITING_FLAGS: Final = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC

# Code that takes time, randomness or files for its own sake and shows them to no other code.
SERVICE: Final = frozenset(
    {"logging", "importlib", "_frozen_importlib", "_frozen_importlib_external", "warnings"}
)
# asyncio and what waits with a time-out read the clock to know how long; asyncio has a self-pipe.
TIMEKEEPERS: Final = frozenset({"asyncio", "threading", "queue", "selectors", "concurrent"})
# Python's own code that is only a way to something else.
PASSAGES: Final = frozenset({"collections.abc", "contextlib", "functools"})


UNSEEDED: Final = Input("random.Random", "randomness")


def _named(kind: str, module: Any, *names: str) -> Iterator[tuple[Any, Input]]:
    for name in names:
        found = getattr(module, name, None)
        if found is not None:
            yield found, Input(f"{module.__name__}.{name}", kind)


def _builtin_functions() -> Iterator[tuple[Any, Input]]:
    clocks = ("time", "monotonic", "perf_counter", "process_time", "thread_time")
    yield from _named("clock", time, *clocks, *(f"{name}_ns" for name in clocks), "clock_gettime")
    yield from _named("sleep", time, "sleep")
    for made in (datetime, date):
        for name in ("now", "utcnow", "today"):
            if found := getattr(made, name, None):
                yield found, Input(f"{made.__name__}.{name}", "clock")
    yield from _named("randomness", os, "urandom", "getrandom")
    yield from _named("randomness", random, "random", "getrandbits")
    yield from _named("processes", os, "system", "fork", "forkpty", "posix_spawn", "posix_spawnp")
    yield from _named("threads", _thread, "start_new_thread", "start_joinable_thread")


def _python_functions() -> Iterator[tuple[Any, Input]]:
    environ = type(os.environ)
    for name in ("__getitem__", "__setitem__", "__delitem__", "__iter__"):
        yield getattr(environ, name), Input("os.environ", "environment")
    yield from _named("randomness", uuid, "uuid1", "uuid4")
    yield random.Random.seed, UNSEEDED
    yield socket.socket.__init__, Input("socket.socket", "network")
    yield socket.getaddrinfo, Input("socket.getaddrinfo", "network")
    yield subprocess.Popen.__init__, Input("subprocess.Popen", "processes")
    yield threading.Thread.start, Input("threading.Thread.start", "threads")


BUILTIN: Final[dict[Any, Input]] = {
    found: known for found, known in _builtin_functions() if isinstance(found, BuiltinFunctionType)
}
# By identity: to hash code is to read all of it.
PYTHON: Final[dict[int, Input]] = {
    id(found.__code__): known
    for found, known in _python_functions()
    if isinstance(found, FunctionType)
}


class Guard:
    """While it is entered, code that this thread runs is refused what is hidden.

    It may be entered again and again, and within itself. What was refused is raised once more on
    leaving, so that code which catches everything cannot hide it.

    Args:
        allow: names (`time.time`), modules (`time`) or kinds (`clock`) that are let pass.
    """

    __slots__ = ("_allow", "_outer", "_watch", "tripped")

    def __init__(self, allow: Set[str] = frozenset()) -> None:
        self._allow = allow
        self._outer: list[Any] = []
        self._watch = self._seen
        self.tripped: HiddenInput | None = None

    def __enter__(self) -> None:
        self._outer.append(sys.getprofile())
        sys.setprofile(self._watch)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        sys.setprofile(self._outer.pop())
        if self.tripped is not None:
            tripped, self.tripped = self.tripped, None
            if tripped is not error:
                raise tripped

    def _seen(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            known = BUILTIN.get(called)
        elif event == "call":
            known = PYTHON.get(id(frame.f_code))
            # A generator with a seed is as good as a list of numbers.
            if known is not None and (known is not UNSEEDED or frame.f_locals["a"] is None):
                self.refuse(known, frame.f_back)
            return
        else:
            return
        if known is not None:
            self.refuse(known, frame)

    def refuse(self, known: Input, frame: FrameType | None) -> None:
        """Raise HiddenInput, unless it is allowed or not the doing of the user's code."""
        culprit = _culprit(known, frame)
        if culprit is None:
            return
        name = culprit[1]
        if self._allow & {name, known.name, known.kind, name.partition(".")[0]}:
            return
        self.tripped = HiddenInput(
            name,
            place_of(culprit[0]),
            f"{INSTEAD[known.kind]}, or declare it: allows={{{name!r}}}",
        )
        raise self.tripped


@cache
def guarded(allow: frozenset[str] = frozenset()) -> Guard:
    """Refuse hidden inputs: `with guarded(shop.allows): …`. The same guard for the same `allow`.

    Raises:
        HiddenInput: on leaving, too, if the code under check has caught it.
    """
    _listen()
    return Guard(allow)


def _culprit(known: Input, frame: FrameType | None) -> tuple[FrameType, str] | None:
    """The user's frame that led here, and what it called there; None if none did."""
    name, called = known.name, None
    while frame is not None:
        if _watches_collector(frame.f_code):
            return None
        owner = owner_of(frame.f_code.co_filename)
        module = str(frame.f_globals.get("__name__", ""))
        if owner == "theirs" and frame.f_code.co_name != "<module>":
            return frame, called or name
        if _is_innocent(known, owner, module, frame):
            return None
        if owner == "standard" and module and module not in PASSAGES:
            # The outermost function of Python's own that the user called: `uuid.uuid4`. Which
            # private module it is in differs from Python to Python.
            called = f"{module.partition('._')[0]}.{frame.f_code.co_name}"
        frame = frame.f_back
    return None


def _watches_collector(code: CodeType) -> bool:
    """A callback of the garbage collector runs when that runs, at any point of other code."""
    return any(getattr(callback, "__code__", None) is code for callback in gc.callbacks)


def _is_innocent(known: Input, owner: str, module: str, frame: FrameType) -> bool:
    root = module.partition(".")[0]
    if owner == "ours":
        # Taking the machine's clock or ids through us takes them all the same.
        return module != "xpay_flow.system"
    if root in SERVICE or frame.f_code.co_name == "<module>":
        return True
    if known.kind == "clock":
        return root in TIMEKEEPERS
    if known.kind == "environment":
        return root == "asyncio"
    return known.kind == "network" and frame.f_code.co_name == "_make_self_pipe"


@cache
def _listen() -> None:
    sys.addaudithook(_audited)


def _audited(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in AUDITED:
        return
    guard = getattr(sys.getprofile(), "__self__", None)
    if type(guard) is not Guard:
        return
    if event != "open" or _writes(*arguments):
        frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        guard.refuse(Input(event, "files"), frame)


def _writes(_: object, mode: object, flags: int) -> bool:
    return bool(WRITING & set(mode) if isinstance(mode, str) else flags & WRITING_FLAGS)
