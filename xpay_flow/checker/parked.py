"""How does blocking code wait without blocking the search? On a thread of its own, parked.

Exactly one thread runs at any time: the one that resumes hands over by a lock, and takes over again
when the other requests something or ends. Few threads are kept: when there are too many, the one
that waits longest is unwound, and its function is run again if it is needed.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock, Thread, get_ident
from typing import Any

from .hidden import HiddenState
from .replayed import Body, Ended, Orphaned
from .theirs import asking_place

Ask = Callable[[Any], Any]
Call = Callable[[Ask], Any]

# Parked threads cost memory and nothing else; whatever is dropped can be run again.
THREADS_MAX = 32
# Code under check does nothing that takes time. After this it waits for what will never come.
HANG_S = 10.0
# An abandoned function that goes on calling ports so often catches what ends it, in a loop.
REFUSED_MAX = 1000


class _Thread:
    """One thread that runs one function, and its two locks.

    Args:
        call: calls the function, given what its ports ask with.
    """

    def __init__(self, call: Call, name: str) -> None:
        self._call = call
        self._turn, self._back = Lock(), Lock()
        self._turn.acquire(blocking=False)
        self._back.acquire(blocking=False)
        self._hooks: tuple[Any, Any] = (None, None)
        self._killed = False
        self._refused = 0
        self.effect: Any = None
        self.answer: Any = None
        self.place = ""
        self.ended: Ended | None = None
        self.trespass: HiddenState | None = None
        self._thread = Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Let it run to its next effect or its end, watched as the thread that resumes it is."""
        self._hooks = (_own_hook(sys.getprofile()), _own_hook(sys.gettrace()))
        self._turn.release()
        if not self._back.acquire(timeout=HANG_S):
            self._killed = True
            raise HiddenState(
                f"{self._thread.name} did not come back within {HANG_S:.0f} s: it waits for "
                "something that is none of its ports, such as a lock, a queue or a socket"
            )
        if self.trespass is not None:
            raise self.trespass
        if self.ended is not None:
            self._thread.join(HANG_S)

    def kill(self) -> None:
        """Unwind it and wait until it is gone."""
        if not self._killed and self.ended is None:
            self._killed = True
            self._turn.release()
            self._back.acquire(timeout=HANG_S)
            if self.ended is not None:
                self._thread.join(HANG_S)

    def ask(self, effect: Any) -> Any:
        """Called by the ports: wait for the answer to an effect."""
        self._refuse()
        self.effect, self.place = effect, asking_place()
        self._back.release()
        self._take_turn()
        return self.answer

    def _refuse(self) -> None:
        if self._killed:
            self._refused += 1
            if self._refused > REFUSED_MAX:
                # It has ended, and is parked for good.
                self._back.release()
                self._turn.acquire()
            raise Orphaned
        if get_ident() != self._thread.ident:
            self.trespass = HiddenState(
                f"{self._thread.name} used a port from a thread that it started; the order of "
                "threads is not in the checker's hands"
            )
            raise Orphaned

    def _take_turn(self) -> None:
        self._turn.acquire()
        if self._killed:
            raise Orphaned
        profile, trace = self._hooks
        sys.setprofile(profile)
        if trace is not None or _own_hook(sys.gettrace()) is not None:
            sys.settrace(trace)

    def _main(self) -> None:
        try:
            self._take_turn()
            self.ended = Ended(self._call(self.ask))
        except Orphaned:
            self.ended = Ended()
        except BaseException as error:
            failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
            self.ended = Ended(error=failure)
        finally:
            sys.setprofile(None)
            self._back.release()


class OnThread(Body):
    """The body of a blocking function."""

    def __init__(self, call: Call, name: str) -> None:
        super().__init__(name)
        self._call = call
        self._thread: _Thread | None = None

    def _begin(self) -> None:
        while len(_PARKED) >= THREADS_MAX:
            _PARKED.popitem(last=False)[1].kill()
        self._thread = _Thread(self._call, self.name)

    def _run(self) -> Any:
        assert self._thread is not None
        _PARKED.pop(id(self), None)
        self._thread.run()
        self.place, self.ended = self._thread.place or self.place, self._thread.ended
        if self.ended is not None:
            return None
        _PARKED[id(self)] = self
        return self._thread.effect

    def _attach(self, answer: Any) -> None:
        assert self._thread is not None
        self._thread.answer = answer

    def kill(self) -> None:
        _PARKED.pop(id(self), None)
        self._alive = False
        if self._thread is not None:
            self._thread.kill()
            self._thread = None


# In the order in which they were parked, by identity.
_PARKED: OrderedDict[int, OnThread] = OrderedDict()


def release_threads() -> None:
    """Unwind every parked thread. Any flow that is needed again is run again, unharmed."""
    while _PARKED:
        _PARKED.popitem(last=False)[1].kill()


def _own_hook(hook: Any) -> Any:
    """A hook of the checker's; those of others keep a state for each thread."""
    return hook if getattr(hook, "__module__", "").startswith(__package__ or "?") else None
