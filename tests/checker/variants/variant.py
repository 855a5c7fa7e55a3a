"""What is a correct variant? A shop that does it otherwise, and the scenes that it can play in."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from xpay_flow.checker.bounds import DEFAULT, Bound, Scene
from xpay_flow.checker.parked import release_threads
from xpay_flow.checker.shop import Shop
from xpay_flow.checker.verdict import Result
from xpay_flow.checker.verify import check


@attrs.frozen(kw_only=True)
class Variant:
    """A correct shop.

    Args:
        how: what it does otherwise, in one sentence.
        scenes: those that fit; each is played with the parties that the shop has.
        without: promises that it does not make.
    """

    name: str
    how: str
    scenes: tuple[Scene, ...]
    make: Callable[[], Shop]
    without: tuple[str, ...] = ()

    def bound(self, faults: int = DEFAULT.faults) -> Bound:
        """Its scenes with so many faults."""
        fitted = tuple(self.make().fitted(scene) for scene in self.scenes)
        return attrs.evolve(DEFAULT, faults=faults, scenes=fitted)

    def checked(self, faults: int) -> Result:
        """What the checker finds."""
        try:
            return check(self.make(), self.bound(faults), without=self.without)
        finally:
            release_threads()
