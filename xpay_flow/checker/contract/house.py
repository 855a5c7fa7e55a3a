"""What is under check, and how does it begin anew?"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal

import attrs

from xpay_flow.ports import Store

from .awaited import leave
from .gate import Watch, unheeded
from .lookup import Table
from .scenes import Scene

# One store per lifeline, as in processes of their own; or one for all, as in threads of one.
Mode = Literal["processes", "threads"]


@attrs.frozen(kw_only=True)
class House:
    """What is under check, and how to begin anew.

    Args:
        make: opens the store, as another process would.
        reset: empties what `make` opens.
        lasting: what was committed is there for the next `make`, too.
        keep: takes a copy of the data, and gives a function that brings it back.
        awaited: a store belongs to the event loop of one thread.
    """

    make: Callable[[], Store]
    reset: Callable[[], None]
    lasting: bool
    table: Table
    keep: Callable[[], Callable[[], None]] | None = None
    awaited: bool = False
    _kept: dict[str, Callable[[], None]] = attrs.field(
        init=False, factory=dict[str, Callable[[], None]], eq=False
    )

    def begin(self, scene: Scene) -> None:
        """Empty the data, and put there what a scene begins with, if that lasts."""
        if scene.name in self._kept:
            self._kept[scene.name]()
            return
        self.reset()
        if self.lasting:
            with opened(self) as store:
                scene.prepare(store)
            if self.keep is not None:
                self._kept[scene.name] = self.keep()

    @property
    def modes(self) -> tuple[Mode, ...]:
        if self.awaited:
            return ("processes",)
        return ("processes", "threads") if self.lasting else ("threads",)


@contextmanager
def steered(house: House) -> Generator[Store, None, None]:
    """A store of this thread, dropped at the end as by a process that dies."""
    watch = Watch(house.table, unheeded())
    store = house.make()
    try:
        with watch.on_this_thread():
            yield store
    finally:
        watch.drop()
        leave(store)


@contextmanager
def opened(house: House) -> Generator[Store, None, None]:
    """A store for what goes before, closed at the end as by a program that ends well."""
    with steered(house) as store:
        yield store
        getattr(store, "close", lambda: None)()
