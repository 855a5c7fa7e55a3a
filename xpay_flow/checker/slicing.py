"""Which steps does a broken promise not depend on? Those are left out of its trace.

One flow with all its steps, or one thing that happens to the world, is left out at a time; the rest
is replayed with live code. It stays out if the rest could happen like this and breaks the same
promise. The last are tried first, since the first are what the others depend on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from xpay_flow.records import Record, Work

from .bounds import Scene
from .contents import held
from .histories import HiddenState
from .lanes import Lanes, lanes_of
from .live import confirm, retrace
from .outside import Outside, XEvent
from .promises import Promises
from .shop import Shop
from .story import Step
from .verdict import NEVER_STUCK, Violation


@attrs.frozen(kw_only=True)
class _Ending:
    """Where a story leads: all that its future depends on."""

    world: Outside
    stored: tuple[Record, ...]
    running: tuple[str, ...]


def sliced(
    violation: Violation,
    shop: Shop,
    scene: Scene,
    empty: Any,
    promises: Promises | None = None,
) -> Violation:
    """The violation without the steps that it does not depend on, replayed with live code.

    Handlers are called for real each time the trace is replayed.

    Args:
        empty: a snapshot of the store as it was before the search.
        promises: among which the broken one is; None is the design's.
    """
    first = Outside(reports_creation=scene.reports_creation)
    shop.store.restore(empty)
    ending = _traced(violation.story, shop, first)
    # The story as it came is confirmed by the caller; one that cannot happen is left alone.
    while ending is not None:
        for left in _without_one(violation):
            shop.store.restore(empty)
            shorter = _traced(left.story, shop, first)
            if shorter is None or not _is_like(shorter, ending, violation.promise, promises):
                continue
            try:
                violation = confirm(left, shop, scene, empty, promises)
            except HiddenState:
                continue
            break
        else:
            return violation
    return violation


def _without_one(violation: Violation) -> Iterator[Violation]:
    """The violation without one flow, or without one thing that happens, the last first."""
    lanes = lanes_of(violation.story)
    units: dict[tuple[str, int], set[int]] = {}
    for at, row in enumerate(lanes.rows):
        unit = ("world", at) if row.task is None else ("task", row.task)
        units.setdefault(unit, set()).add(at)
    for left_out in sorted(units.values(), key=max, reverse=True):
        if violation.no_return not in left_out:
            yield _without(violation, left_out)


def _without(violation: Violation, left_out: set[int]) -> Violation:
    story = tuple(step for at, step in enumerate(violation.story) if at not in left_out)
    before = violation.no_return
    return attrs.evolve(
        violation,
        story=story,
        faults=sum(step.fault is not None for step in story),
        no_return=None if before is None else before - sum(at < before for at in left_out),
    )


def _is_like(shorter: _Ending, ending: _Ending, promise: str, promises: Promises | None) -> bool:
    """The shorter story is about the same payments, and as hopeless where that is what is wrong."""
    goals = promises.goals if promises is not None else {NEVER_STUCK: None}
    if promise in goals:
        # Only from the very same place is it known that nothing can help.
        return shorter == ending
    # A delivery contains the request, which was worked out for the whole trace.
    requests = [intent.request for intent in ending.world.intents]
    return all(
        intent.request == request
        for intent, request in zip(shorter.world.intents, requests, strict=False)
    )


# --- could it happen? ----------------------------------------------------------------------------


def _traced(story: Sequence[Step], shop: Shop, now: Outside) -> _Ending | None:
    """Where the story leads; None if it cannot happen like this."""
    lanes = lanes_of(story)
    steps: list[Step] = []
    again = retrace(story, shop, now)
    try:
        for at, step in enumerate(story):
            if not _may(step, now, held(shop.store), _is_alone(lanes, at)):
                return None
            seen, now = next(again)
            steps.append(seen)
    except (HiddenState, IndexError, KeyError):
        return None
    return _Ending(world=now, stored=held(shop.store), running=_running(steps))


def _is_alone(lanes: Lanes, at: int) -> bool:
    """No flow runs when this step comes."""
    return not any(
        task.first < at and (task.last is None or task.last >= at) for task in lanes.tasks
    )


def _running(steps: Sequence[Step]) -> tuple[str, ...]:
    """The pasts of the flows that still run: on them depends what these will do."""
    lanes = lanes_of(steps)
    pasts = [
        repr([(row.step.op, row.step.answer) for row in lanes.rows if row.task == number])
        for number, task in enumerate(lanes.tasks)
        if task.last is None
    ]
    return tuple(sorted(pasts))


def _may(step: Step, now: Outside, stored: Sequence[Record], is_alone: bool) -> bool:
    """The step is possible in this world, by the rules that the search goes by."""
    match step.what:
        case "starts":
            return _may_start(step, now, stored)
        case "customer":
            return any(intent.reachable and not intent.paid for intent in now.intents)
        case "xpay":
            deliveries = [what[1:] for what in step.happens if what[0] == "delivery"]
            return all(_may_deliver(event, delivery, now) for event, delivery in deliveries)
        case "time":
            return is_alone == (step.fault is None)
        case "dies":
            return step.kind is not None or not is_alone
        case _:
            return True


def _may_deliver(event: XEvent, delivery: str, now: Outside) -> bool:
    """An event comes to be delivered, or is given up."""
    if delivery == "pending":
        return event.x_number <= len(now.intents) and event not in dict(now.events)
    return (event, "pending") in now.events


def _may_start(step: Step, now: Outside, stored: Sequence[Record]) -> bool:
    kind = step.kind
    assert kind is not None
    if isinstance(event := kind.subject, XEvent):
        if step.fault in ("forgery", "flaw"):
            return event.x_number <= len(now.intents)
        return (event, "pending" if step.fault is None else "acknowledged") in now.events
    if kind.group == "send_to_checkout":
        return any(intent.reachable for intent in now.intents)
    works: dict[str, Work] = {"worker": "deliver", "reconciler": "reconcile"}
    if kind.group in works:
        work = works[kind.group]
        return any(record.is_due(work, now.now_ms) for record in stored)
    return True
