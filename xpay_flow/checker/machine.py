"""How is a shop tried beyond a bound? By Hypothesis, with the steps that the checker takes.

    TestShop = state_machine("shop.payments:build", steps=200).TestCase

Each step is one of the ways on from where the last has led: a flow's turn, a fault, something that
xPay or the customer does. What Hypothesis finds it makes short, and shows as a trace.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from .bounds import BEGINNING, Bound, Scene
from .engine import Crew
from .explore import Search, steps_of
from .own import Own
from .reductions import Reductions
from .seeds import Walk
from .targets import Target, shop_of
from .verify import Checking

ORDINAL_MAX = 9_999
# All at once, whatever goes wrong: far too much for a search.
EVERYTHING = attrs.evolve(
    BEGINNING,
    name="everything",
    parties={"click": 2, "webhook": 3, "worker": 2, "reconciler": 1, "send_to_checkout": 1},
    at_once=4,
    faults=frozenset({"repeat", "store", "silence", "handler", "death", "hang", "forgery", "flaw"}),
    failures=2,
    refunds=2,
    disputes=True,
    rotates=True,
)

# Nothing may depend on what an earlier walk has met first.
AFRESH = Reductions(versions=False, loops=False, quiet=False)


def state_machine(
    target: Target = None,
    *,
    scene: Scene = EVERYTHING,
    faults: int = 9,
    steps: int = 50,
    examples: int = 50,
    own: Iterable[Own] = (),
) -> type[RuleBasedStateMachine]:
    """A machine for Hypothesis that walks through a shop; its `TestCase` is a test.

    Args:
        scene: who takes part and what can go wrong; by default all parties and faults.
        faults: at most so many in one walk.
        steps, examples: how long a walk is, and how many there are.
        own: promises besides the design's and those of the target's module.
    """
    shop, theirs = shop_of(target)
    checking = Checking(shop.shortened(faults).watched(), (*theirs, *own), frozenset())
    scene = checking.shop.fitted(scene)
    bound = Bound(name="walk", faults=faults, scenes=(scene,))
    promises = checking.promises(scene)
    if promises.own:
        promises.looks.append("anything")
    search = Search(checking.shop, scene, bound, reductions=AFRESH, promises=promises)
    checking.give_back()

    class Shopping(RuleBasedStateMachine):
        """Walks through what can happen; what was worked out for one walk serves the next."""

        def __init__(self) -> None:
            super().__init__()
            self._walk = Walk(search.moves, faults)
            self._labels: list[Any] = []

        @rule(ordinal=st.integers(0, ORDINAL_MAX))
        def happens(self, ordinal: int) -> None:
            """One of the things that can happen now; so many that a number stands for one."""
            choices = self._walk.choices()
            if choices:
                choice = choices[ordinal % len(choices)]
                self._labels.append(choice.label)
                self._walk.go(choice)

        def teardown(self) -> None:
            """The store is as it was."""
            checking.give_back()

        @property
        def at(self) -> tuple[int, Crew]:
            """The state that the walk has come to: a situation, and who is at work."""
            return self._walk.state(self._walk.at)

        @invariant()
        def promises_hold(self) -> None:
            """Nothing is wrong at this moment."""
            situation, _ = self.at
            wrong = search.moves.wrong(situation, self._walk.price(self._walk.at))
            story = "\n  ".join(step.in_words() for step in steps_of(self._labels))
            assert wrong is None, f"{wrong}:\n  {story}"

    Shopping.TestCase.settings = settings(
        stateful_step_count=steps, max_examples=examples, deadline=None
    )
    return Shopping
