"""Does a trace still happen? Its seed is followed through the code as it is now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from .bounds import Bound
from .engine import Engine
from .explore import Search, marked, steps_of
from .histories import HiddenState
from .live import confirm
from .own import Own
from .promises import LooksFurther, Promises
from .seeds import Seed, Walk, mark_of
from .story import Step
from .targets import Target, shop_of
from .verdict import Violation
from .verify import Checking


@attrs.frozen(kw_only=True)
class Replayed:
    """The result of a replay.

    Args:
        violation: the broken promise, as live code has shown it again; None if it holds now.
        diverged: where the code went another way than in the story; nothing if it did not.
        steps: the story as far as it went.
    """

    violation: Violation | None
    diverged: str = ""
    steps: tuple[Step, ...] = ()


def replay(seed: str, target: Target = None, *, own: Iterable[Own] = ()) -> Violation | None:
    """The violation that a seed stands for, if the code still has it.

    Raises:
        ConfigurationError: this is no seed, or the target names no flow.
    """
    return replayed(seed, target, own=own).violation


def replayed(text: str, target: Target = None, *, own: Iterable[Own] = ()) -> Replayed:
    """Follow a seed, and show where the code went another way."""
    seed = Seed.read(text)
    shop, theirs = shop_of(target)
    checking = Checking(shop.shortened(seed.faults).watched(), (*theirs, *own), frozenset())
    try:
        found = _followed(seed, text, checking, ())
        if found is None or (found.diverged and checking.own):
            # The search was begun again, since a promise looked at more than was foreseen.
            again = _followed(seed, text, checking, ("anything",))
            found = again if found is None or (again and not again.diverged) else found
        assert found is not None
        return found
    finally:
        checking.give_back()


def _followed(seed: Seed, text: str, checking: Checking, looks: Iterable[str]) -> Replayed | None:
    """The same with promises that look at this; None if they look at more."""
    try:
        return _follow(seed, text, checking, looks)
    except LooksFurther:
        return None


def _follow(seed: Seed, text: str, checking: Checking, looks: Iterable[str]) -> Replayed:
    scene = checking.shop.fitted(seed.where)
    promises = checking.promises(scene)
    promises.looks.extend(looks)
    bound = Bound(name="replay", faults=seed.faults, scenes=(scene,))
    search = Search(checking.shop, scene, bound, promises=promises)
    labels, walk = list[Any](), Walk(search.moves, seed.faults)
    for number, (ordinal, mark) in enumerate(seed.ways, 1):
        choices = walk.choices()
        other = _other_way([choice.label for choice in choices], ordinal, mark)
        if other:
            at = f"step {number} of {len(seed.ways)}: {other}"
            return Replayed(violation=None, diverged=at, steps=(*search.begun, *steps_of(labels)))
        labels.append(choices[ordinal].label)
        walk.go(choices[ordinal])
    story = (*search.begun, *steps_of(labels))
    name = _name(promises, seed.promise)
    violation = Violation(
        scene=scene.name,
        promise=name,
        sentence="",
        story=story,
        faults=sum(step.fault is not None for step in story),
        seed=text,
    )
    if name in promises.goals and _can_still_end_well(search, walk, promises, name):
        return Replayed(violation=None, steps=story)
    try:
        violation = confirm(violation, checking.shop, scene, checking.empty, promises)
    except HiddenState:
        return Replayed(violation=None, steps=story)
    return Replayed(violation=violation, steps=story)


def _other_way(labels: list[Any], ordinal: int, mark: str) -> str:
    if ordinal >= len(labels):
        return f"there are only {len(labels)} ways on now"
    now = marked(labels[ordinal])
    if not mark or mark == now:
        return ""
    words = "; ".join(step.in_words() for step in steps_of([labels[ordinal]]))
    return f"what happens now is another: {words}"


def _name(promises: Promises, mark: str) -> str:
    groups = (
        promises.record_checks,
        promises.moment_checks,
        promises.unspoilt,
        promises.change_checks,
        promises.goals,
    )
    names = (name for group in groups for name in group)
    return next((name for name in names if mark_of(name, 2) == mark), "")


def _can_still_end_well(search: Search, walk: Walk, promises: Promises, name: str) -> bool:
    """Some way leads on from here to the goal, with the faults that are left."""
    moves, goal = search.moves, promises.goals[name]
    moves.opening = walk.state(walk.at)
    engine = Engine(moves, walk.faults_max - walk.price(walk.at))
    engine.run()
    return any(goal.reached(moves.view(engine.state(number)[0])) for number in range(engine.states))
