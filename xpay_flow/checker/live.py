"""Is the story true? It is told again with live flows and the real store, and nothing remembered.

So nothing that the search remembers, merges or fuses can cause a false alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from xpay_flow.effects import Commit, Exchange, Ran, RunHandler
from xpay_flow.errors import StoreUnavailable
from xpay_flow.ports import NoAnswer
from xpay_flow.records import Record

from . import outside as world
from .bounds import Scene
from .contents import Raised, ask, held
from .explore import NEVER_STUCK
from .histories import HiddenState, Node, advance
from .judging import first_wrong, view_of
from .outside import Outside
from .properties import fulfilled, owed
from .shop import AnyFlow, Shop
from .story import HANDLER_FAILED, LOST, NO_ANSWER, Seen, Step
from .task_moves import with_crash
from .verdict import Violation
from .whereabouts import where_of


def confirm(violation: Violation, shop: Shop, scene: Scene, empty: Any) -> Violation:
    """Tell the story again; what is shown is what live code did.

    Args:
        empty: a snapshot of the store as it was before the search.

    Raises:
        HiddenState: it ends otherwise, so the code depends on something that is not an answer.
    """
    shop.store.restore(empty)
    story, now = _retold(violation.story, shop, Outside(tells_creation=scene.tells_creation))
    view = view_of(shop, shop.store, now)
    if violation.promise == NEVER_STUCK[0]:
        broken = not (fulfilled(view) if scene.delivers else owed(view))
    else:
        wrong = first_wrong(view, violation.faults)
        broken = wrong is not None and wrong[0] == violation.promise
    if not broken:
        raise HiddenState(
            f"told again with live code, this story breaks nothing:\n{violation.as_text()}"
        )
    return attrs.evolve(violation, story=story, confirmed=True)


def _retold(story: Sequence[Step], shop: Shop, now: Outside) -> tuple[tuple[Step, ...], Outside]:
    """The story as it went, and the world after it; the store is left as it was then."""
    told: list[Step] = []
    running: dict[int, list[tuple[Node, AnyFlow]]] = {}
    for step in story:
        task = None if step.before is None else running[step.before].pop()
        if step.what == "dies" and task is None:
            running.clear()
        if step.what == "starts":
            assert step.kind is not None
            assert step.outside is not None
            now, flow = step.outside, step.kind.make()
            task = Node(step.kind, None, None, now.now_ms), flow
            advance(*task)
        elif step.what == "does":
            assert task is not None
            node, flow = task
            if type(node.op) is not type(step.op):
                raise HiddenState(f"told again, it asks for {node.op!r} where it was {step.op!r}")
            where, before = where_of(flow), _contents(node.op, shop)
            answer, now = _performed(node.op, step, shop, now)
            seen = Seen(where=where, before=before, after=_contents(node.op, shop))
            step = attrs.evolve(step, op=node.op, answer=answer, seen=seen)
            task = Node(node.kind, node, answer, now.now_ms, named=node.named), flow
            advance(*task)
            now = with_crash(now, task[0])
        elif step.outside is not None:
            now = step.outside
        if step.after is not None and task is not None:
            running.setdefault(step.after, []).append(task)
        told.append(step)
    return tuple(told), now


def _contents(op: Any, shop: Shop) -> tuple[Record, ...] | None:
    return held(shop.store) if isinstance(op, Commit) else None


def _performed(op: Any, step: Step, shop: Shop, now: Outside) -> tuple[Any, Outside]:
    """What a live effect is answered, and the world afterwards."""
    if isinstance(op, Exchange):
        response, after = world.answer(now, op.request)
        if step.how == "done":
            return response, after
        return NoAnswer(NO_ANSWER), after if step.how == "applied" else now
    if isinstance(op, RunHandler):
        if step.how != "done":
            return Ran("failed", HANDLER_FAILED), now
        ran = shop.ran(op)
        return ran, now.with_call(op.name, op.payment) if ran.outcome == "done" else now
    answer = None if step.how == "not applied" else ask(shop.store, op)
    return (answer if step.how == "done" else Raised(StoreUnavailable(LOST))), now
