"""Is the trace true? It is replayed with live flows and the real store, and nothing remembered.

So nothing that the search remembers, merges or fuses can cause a false alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs

from xpay_flow.effects import Commit, RunInTransaction
from xpay_flow.records import Record

from . import outside as world
from .bounds import Scene
from .contents import held
from .histories import HiddenState, Node, advance
from .judging import view_of
from .outside import Happening, Outside
from .performing import Hold, Seat, performed, taken_apart
from .promises import Promises, promises_of
from .properties import View
from .shop import AnyFlow, Shop
from .story import Seen, Step
from .turns import ending, outcome
from .verdict import Violation
from .whereabouts import where_of


def confirm(
    violation: Violation,
    shop: Shop,
    scene: Scene,
    empty: Any,
    promises: Promises | None = None,
) -> Violation:
    """Replay the trace; what is shown is what live code did.

    Args:
        empty: a snapshot of the store as it was before the search.
        promises: among which the broken one is; None is the design's.

    Raises:
        HiddenState: it ends otherwise, so the code depends on something that is not an answer.
    """
    shop.put_back(empty)
    first = Outside(reports_creation=scene.reports_creation)
    promises = promises or promises_of(scene)
    changes = violation.promise in promises.change_checks
    trace, now, views = list[Step](), first, [view_of(shop, shop.store, first)]
    for step, now in retrace(violation.story, shop, first):
        trace.append(step)
        # Only a promise about changes looks at more than the last moment.
        if changes:
            views.append(view_of(shop, shop.store, now))
    if not changes:
        views = [view_of(shop, shop.store, now)]
    sentence = wrong_now(violation, views, promises)
    if sentence is None:
        raise HiddenState(
            f"replayed with live code, this trace breaks nothing:\n{violation.as_text()}"
        )
    return attrs.evolve(violation, story=tuple(trace), sentence=sentence, confirmed=True)


def wrong_now(violation: Violation, views: Sequence[View], promises: Promises) -> str | None:
    """How the promise is broken at the last of the moments of a story; None if it is not."""
    name, last = violation.promise, views[-1]
    if name in promises.goals:
        goal = promises.goals[name]
        return None if goal.reached(last) else goal.sentence
    if name in promises.change_checks:
        # What the search takes for one step may be several here.
        found = (promises.change_checks[name](view, last) for view in views[-2::-1])
        return next((text for text in found if text), None)
    return promises.wrong_at(last, violation.faults).get(name)


def retrace(story: Sequence[Step], shop: Shop, now: Outside) -> Iterator[tuple[Step, Outside]]:
    """Each step as it went, and the world after it; the store is left as it was then.

    Raises:
        HiddenState: a flow yields another effect than in the trace, or does not end with it.
    """
    running: dict[int, list[tuple[Node, AnyFlow]]] = {}
    seat = Seat(shop.store)
    # Elsewhere a flow shows the line where it stands.
    apart = any(isinstance(step.op, Hold) for step in story)
    for step in story:
        task = None if step.before is None else running[step.before].pop()
        if step.what == "dies" and task is None:
            running.clear()
        if step.what == "starts":
            assert step.kind is not None
            now, flow = _world_after(now, step.happens), step.kind.make()
            flow = taken_apart(flow) if apart else flow
            task = Node(step.kind, None, None, now.now_ms), flow
            advance(*task)
        elif step.what == "does":
            assert task is not None
            node, flow = task
            if type(node.op) is not type(step.op):
                raise HiddenState(f"replayed, it yields {node.op!r} where it was {step.op!r}")
            where, before = where_of(flow), _contents(node.op, shop)
            done = performed(node.op, step.how, step.fault, seat, shop, now)
            answer, now = done.answer, done.outside
            seen = Seen(where=where, before=before, after=_contents(node.op, shop))
            step = attrs.evolve(step, op=node.op, answer=answer, seen=seen)
            task = Node(node.kind, node, answer, now.now_ms, named=node.named), flow
            advance(*task)
        elif step.what == "ends":
            assert task is not None
            if task[0].op is not None:
                raise HiddenState(f"replayed, it yields {task[0].op!r} where it had ended")
            now = _world_after(now, ending(task[0], received=step.how == "done"))
            step = attrs.evolve(step, answer=outcome(task[0]))
        else:
            now = _world_after(now, step.happens)
        if step.after is not None and task is not None:
            running.setdefault(step.after, []).append(task)
        yield step, now


def _world_after(now: Outside, happens: Iterable[Happening]) -> Outside:
    for happening in happens:
        now = world.happened(now, happening)
    return now


def _contents(op: Any, shop: Shop) -> tuple[Record, ...] | None:
    return held(shop.store) if isinstance(op, Commit | RunInTransaction) else None
