"""How does a flow call its store on a thread of its own, and stop at every statement?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpay_flow.ports import Store

from ..contract.gate import Died
from ..contract.lookup import Table
from ..contract.statements import Statement
from ..contract.steered import STUCK_LOOKS, Act, Room, Steered, settle
from ..performing import Seat


class Caller(Steered, Seat):
    """A seat whose store is called on this thread."""

    def __init__(self, table: Table, open_store: Callable[[], Store]) -> None:
        Steered.__init__(self, Room(table, lambda _, __: False), open_store)
        Seat.__init__(self, None)
        self.answer: Any = None
        self._call: Callable[[], Any] = lambda: None
        self.start()
        self.settles(STUCK_LOOKS)
        if self.broken is not None:
            raise self.broken

    @property
    def rests(self) -> bool:
        """It has no call."""
        return self.state == "done"

    @property
    def waits_for_others(self) -> bool:
        """Its statement is not answered."""
        return self.state == "running"

    @property
    def statement(self) -> Statement | None:
        """The one before which it stands."""
        return self.at if isinstance(self.at, Statement) else None

    def begin(self, call: Callable[[], Any]) -> None:
        """Go to the first statement of a call."""
        self._call = call
        self.release("go")
        self.settles(STUCK_LOOKS)

    def go_on(self, act: Act, looks: int) -> None:
        """Go to the next statement, or to the end of the call, or to a lock."""
        self.release(act)
        self.settles(looks)

    def settles(self, looks: int = 0) -> bool:
        """False if it waits for others."""
        return settle(self._room, [self], looks)

    def wants(self, is_free: Callable[[], bool]) -> None:
        """Locks of the process are nothing that another flow's store has."""

    def _work(self, store: Store) -> None:
        self.store = store
        while self._wait("done") == "go":
            self._steered = True
            answer = self._call()
            self._steered = False
            if self.dead:
                raise Died
            self.answer = answer
