"""What is a planted bug? A shop that is wrong in one way, and what has to be found of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import attrs

from xpay_flow.checker.bounds import DEFAULT, EVENTS, Scene
from xpay_flow.checker.parked import release_threads
from xpay_flow.checker.shop import AnyFlow, Shop
from xpay_flow.checker.targets import shipped
from xpay_flow.checker.verdict import Result, Violation
from xpay_flow.checker.verify import check
from xpay_flow.stores.memory import MemoryStore

_ARROW = re.compile(r"^.*-(?:>>|x|\)).*$", re.MULTILINE)
_BEGUN = "ends, to the checkout of in_1"

# The scene `events` with one payment and one delivery at a time, for what needs no more.
ONE_DELIVERY = attrs.evolve(EVENTS, name="one delivery", parties={"webhook": 1}, failures=0)
BAD_STORE = attrs.evolve(ONE_DELIVERY, name="bad store", faults=frozenset({"store"}))
# Not a promise: code that the checker cannot see through is refused, with the name of what it did.
REFUSED = "refused"


def shop(store: Any = None, **changes: Any) -> Shop:
    """The shipped shop with something replaced."""
    made = Shop.of(shipped())
    return attrs.evolve(made, store=store or MemoryStore(), **changes)


@attrs.frozen(kw_only=True)
class Mutant:
    """A wrong shop.

    Args:
        bug: the function or class that is wrong; its docstring states what the shop got wrong.
        promise: that it breaks, or `REFUSED`.
        faults: the fewest that must come together.
        scene: the one that shows it.
        expects: the text that the counterexample, or the refusal, must contain.
        reference: where such a bug was met.
        patch: (module, name, value) to put in place of something of ours.
    """

    name: str
    bug: Any
    promise: str
    faults: int
    scene: Scene
    expects: str
    make: Callable[[], Shop] = shop
    reference: str = ""
    patch: tuple[Any, str, Any] | None = None

    @contextmanager
    def planted(self) -> Iterator[Shop]:
        """The wrong shop, while what it replaces of ours is replaced."""
        with patch.object(*self.patch) if self.patch else nullcontext():
            try:
                yield self.make()
            finally:
                release_threads()

    def checked(self, faults: int | None = None) -> Result:
        """What the checker finds.

        Args:
            faults: the bound; by default as many as the default bound has, or as it needs.

        Raises:
            HiddenState: it is refused.
        """
        most = max(self.faults, DEFAULT.faults) if faults is None else faults
        with self.planted() as made:
            scene = made.fitted(self.scene)
            return check(made, attrs.evolve(DEFAULT, faults=most, scenes=(scene,)))

    def arrows(self, violation: Violation) -> list[str]:
        """The arrows of the picture; where the payment was begun before, those after that."""
        found = _ARROW.findall(violation.as_mermaid())
        begun = [at for at, arrow in enumerate(found) if _BEGUN in arrow][:1]
        return found[begun[0] + 1 :] if self.scene.begun and begun else found


def rewritten(flow: AnyFlow, answer: Callable[[Any], Any]) -> AnyFlow:
    """The flow, with some of its effects answered by `answer` instead; None leaves an effect."""
    value = None
    try:
        effect = next(flow)
        while True:
            instead = answer(effect)
            if instead is None:
                try:
                    value = yield effect
                except Exception as error:
                    effect = flow.throw(error)
                    continue
            else:
                value = instead
            effect = flow.send(value)
    except StopIteration as end:
        return end.value
