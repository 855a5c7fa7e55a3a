"""Which promises does one search look at? The design's and the user's own, less some."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import wraps
from typing import Any, TypeVar

import attrs

from xpay_flow.errors import ConfigurationError

from .bounds import Scene
from .own import Own
from .properties import (
    ACKNOWLEDGED,
    CUSTOMER,
    GOALS_DELIVERED,
    GOALS_DUE,
    PROPERTIES,
    RECORD_CHECKS,
    Goal,
    Property,
    View,
    called_once,
)
from .shared_state import SharedState

Wrong = tuple[str, str]
# What a promise can see of a moment without making a difference between moments that the search
# takes for one: no times, no versions, no history, and not who is at work or what is acknowledged.
FACE = frozenset(
    {"intents", "really_paid", "all_refunded", "refunds", "called", "shown", "wrote", "lifecycle"}
)


class LooksFurther(Exception):
    """A promise of the user's looks at more than `FACE`: the search is begun again."""


class _Watched(View):
    """A view that notices whether more than its face is looked at."""

    def __init__(self, view: View, looks: list[str]) -> None:
        object.__setattr__(self, "_watched", (view, looks))

    def __getattribute__(self, name: str) -> Any:
        view, looks = object.__getattribute__(self, "_watched")
        if name not in FACE and name != "__class__":
            looks.append(name)
        return getattr(view, name)


T = TypeVar("T")
CALLED_ONCE = "handlers_are_called_once"


@attrs.frozen(kw_only=True)
class Promises:
    """What must hold in one scene, by name.

    Args:
        record_checks: they look at nothing but the records.
        moment_checks: at everything that can be seen at a moment.
        unspoilt: only while nothing has gone wrong.
        change_checks: at the moments before and after a step.
        goals: can always still be reached.
        hopes: are reached once at least.
        own: some are the user's own, of which nothing is known.
        looks: what the user's own have looked at besides `FACE`.
    """

    record_checks: Mapping[str, Property]
    moment_checks: Mapping[str, Property]
    unspoilt: Mapping[str, Property]
    change_checks: Mapping[str, Callable[[View, View], str | None]]
    goals: Mapping[str, Goal]
    hopes: Mapping[str, Goal]
    own: bool = False
    looks: list[str] = attrs.field(factory=list[str], eq=False)

    def wrong_at(self, view: View, faults: int) -> dict[str, str]:
        """Every promise that is broken at a moment reached with so many faults, and how."""
        checks = {**self.record_checks, **self.moment_checks, **({} if faults else self.unspoilt)}
        found = ((name, check(view)) for name, check in checks.items())
        return {name: text for name, text in found if text}


def promises_of(scene: Scene, own: Iterable[Own] = (), without: Collection[str] = ()) -> Promises:
    """The promises for one scene.

    Args:
        without: names of promises to leave out.
    """
    looks: list[str] = []
    own = [_watching(promise, looks) for promise in own if promise.name not in without]
    mine = {when: [p for p in own if p.when == when] for when in ("always", "on_change")}
    goals = {p.name: Goal(_reached(p), p.sentence) for p in own if p.when == "eventually"}
    hopes = {p.name: Goal(_reached(p), p.sentence) for p in own if p.when == "sometimes"}
    shipped = {**(GOALS_DELIVERED if scene.delivers else GOALS_DUE), **CUSTOMER}
    if scene.parties.get("webhook"):
        shipped |= ACKNOWLEDGED
    return Promises(
        record_checks=_but(RECORD_CHECKS, without),
        moment_checks=_but({**PROPERTIES, **{p.name: p for p in mine["always"]}}, without),
        unspoilt=_but({CALLED_ONCE: called_once}, without),
        change_checks=_but({p.name: p for p in mine["on_change"]}, without),
        goals=_but({**shipped, **goals}, without),
        hopes=_but(hopes, without),
        own=bool(own),
        looks=looks,
    )


def _watching(promise: Own, looks: list[str]) -> Own:
    """The promise, given views that notice what it looks at; it may not remember any."""
    shared = SharedState([promise.holds])

    @wraps(promise.holds)
    def holds(*views: View) -> bool | str | None:
        held = promise.holds(*(_Watched(view, looks) for view in views))
        shared.refuse_changes(f"the promise {promise.name}")
        return held

    return Own(promise.when, holds)


def refuse_unknown(without: Collection[str], own: Iterable[Own]) -> None:
    """Raise ConfigurationError for the name of no promise: it would leave out nothing."""
    known = {*RECORD_CHECKS, *PROPERTIES, *GOALS_DUE, *CUSTOMER, *ACKNOWLEDGED, CALLED_ONCE}
    known |= {promise.name for promise in own}
    for name in without:
        if name not in known:
            raise ConfigurationError(
                f"there is no promise {name!a} to leave out; there are {', '.join(sorted(known))}"
            )


def _reached(promise: Own) -> Callable[[View], bool]:
    return lambda view: promise(view) is None


def _but(promises: Mapping[str, T], without: Collection[str]) -> dict[str, T]:
    return {name: promise for name, promise in promises.items() if name not in without}
