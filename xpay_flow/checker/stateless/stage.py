"""What do all executions of one scene have in common?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import attrs

from xpay_flow.ports import Store

from .. import outside as world
from ..bounds import FaultKind, Scene
from ..casting import Casting
from ..contents import Contents
from ..histories import Kind, Node
from ..moves import Moves
from ..outside import Outside
from ..performing import Seat
from ..promises import Promises
from ..reductions import NONE
from ..shop import AnyFlow, Shop, SnapshotStore
from . import touches

Written = Callable[[], Iterable[str]]


class Stage:
    """What all executions of one scene have in common.

    Args:
        open_store: opens the store once more, as another process would. One that has a `close` is
            closed when its flow dies, and is used by no other.
        reset: empties the store; what was opened before goes on to work.
        flows_max: so many flows begin in one execution, and no more.
        written: what handlers within the store's transaction have written: see `check_stateless`.
    """

    def __init__(
        self,
        shop: Shop,
        scene: Scene,
        open_store: Callable[[], Store],
        reset: Callable[[], object],
        promises: Promises,
        *,
        flows_max: int,
        written: Written | None = None,
    ) -> None:
        self.shop, self.scene, self.flows_max = shop, scene, flows_max
        self.written = written
        self.open_store, self._idle, self.reset = open_store, list[Seat](), reset
        reset()
        self.store: Any = open_store()
        self.first = Outside(reports_creation=scene.reports_creation)
        self.watching = Watching(self.store)
        self.moves = Moves(shop, scene, self.watching, self.first, NONE, promises=promises)
        self.choice = touches.choice_touch(scene)
        pressed = world.happened(self.first, ("pressed",))
        self.click = Casting(shop).kind("click", None, pressed)
        self.fired: set[FaultKind] = set()
        self.resumptions = 0
        self.store_calls = 0

    def opened(self) -> Seat:
        """A store for one flow."""
        return self._idle.pop() if self._idle else self.seated()

    def seated(self) -> Seat:
        """A seat for a flow, with a store that is opened for it."""
        return Seat(self.open_store())

    def ended(self, seat: Seat) -> None:
        """The flow that had this store has ended."""
        seat.empty()
        self._idle.append(seat)

    def died(self, seat: Seat) -> None:
        """The flow that had this store has died, and its connection with it."""
        seat.empty()
        close(seat.store)

    def close(self) -> None:
        """Let go of all stores."""
        for seat in self._idle:
            self.died(seat)
        self._idle.clear()
        close(self.store)


def close(store: Any) -> None:
    """Let go of a store's connections, if it has a way to."""
    getattr(store, "close", lambda: None)()


@attrs.define(eq=False)
class Task:
    """A live flow.

    Args:
        root: by which the scene knows of what kind it is.
        token: its past, by a number that no other has.
    """

    kind: Kind
    root: int
    flow: AnyFlow
    node: Node
    seat: Seat
    token: int


class Watching(Contents):
    """What the store holds now, by number, for a look from outside."""

    def __init__(self, store: Store) -> None:
        super().__init__(cast(SnapshotStore, Standing(store)), alike=False, whole=True)

    def look(self) -> int:
        """The number of what the store holds."""
        return self._number()


class Standing:
    """A real store in the place of one that can be put back: it can only be emptied."""

    def __init__(self, store: Any, reset: Callable[[], object] = lambda: None) -> None:
        self._reset = reset
        for name in _METHODS:
            if hasattr(store, name):
                setattr(self, name, getattr(store, name))

    def snapshot(self) -> None:
        return None

    def restore(self, _: object) -> None:
        self._reset()


_METHODS = (
    "history",
    *("load", "commit", "due", "recent", "reader"),
    *("commit_with", "lock", "orphaned", "can_lock"),
)
