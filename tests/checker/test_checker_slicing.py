"""A story keeps what its broken promise depends on, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest

from xpay_flow import messages as m
from xpay_flow.checker.bounds import DEFAULT, FaultKind
from xpay_flow.checker.casting import Casting
from xpay_flow.checker.live import confirm, retrace
from xpay_flow.checker.outside import Outside, XEvent
from xpay_flow.checker.slicing import sliced
from xpay_flow.checker.story import Step
from xpay_flow.checker.verdict import Violation
from xpay_flow.checker.verify import check
from xpay_flow.effects import Commit, Load
from xpay_flow.records import Record, change

from .planted_flows import PLANTED, Planted

UNPATCHED = [planted for planted in PLANTED if planted.patch is None]
NAMED = {planted.name: planted for planted in PLANTED}
NOTHING = Commit(change(Record(key="k"), Record(key="k")))
# Pasts of flows that were put into a story by hand.
BY_HAND = 1_000_000


def violation_of(planted: Planted) -> Violation:
    """The counterexample as the search finds it."""
    found = check(planted.make(), attrs.evolve(DEFAULT, scenes=(planted.scene,))).violation
    assert found is not None
    return found


def cut(planted: Planted, story: Violation) -> Violation:
    """The story without what is needless; it must be true before."""
    shop = planted.make().shortened(DEFAULT.faults)
    empty = shop.store.snapshot()
    return sliced(confirm(story, shop, planted.scene, empty), shop, planted.scene, empty)


def delivery(
    planted: Planted, story: Sequence[Step], event: XEvent, fault: FaultKind | None = None
) -> tuple[Step, ...]:
    """The steps of a delivery that is let alone: it reads, writes if it is new, and ends."""
    shop = planted.make().shortened(DEFAULT.faults)
    *_, (_, world) = retrace(story, shop, Outside())
    kind = Casting(shop).kind("webhook", event, world)
    ops = [Load("x:in_1")] if fault else [Load("x:in_1"), NOTHING]
    begins = Step(what="starts", kind=kind, after=BY_HAND, fault=fault)
    does = [
        Step(what="does", kind=kind, before=BY_HAND + at, after=BY_HAND + at + 1, op=op)
        for at, op in enumerate(ops)
    ]
    return (begins, *does, Step(what="ends", kind=kind, before=BY_HAND + len(ops), answer=200))


def paid_at(story: Sequence[Step]) -> int:
    return next(at for at, step in enumerate(story) if step.note == "the customer pays")


def with_needless_failure(planted: Planted, found: Violation) -> Violation:
    """The story with a charge that fails before, and the event of it."""
    at = paid_at(found.story)
    fails = Step(what="customer", note="a charge fails", happens=(("charged", 1, False),))
    head = (*found.story[:at], fails)
    steps = delivery(planted, head, XEvent(m.INTENT_FAILED, 1, 1))
    return attrs.evolve(found, story=(*head, *steps, *found.story[at:]))


def words(found: Violation) -> list[str]:
    """The story without versions, which count what was left out, too."""
    return [f"{step.what} {step.kind.name if step.kind else step.note}" for step in found.story]


@pytest.mark.parametrize("planted", UNPATCHED, ids=lambda planted: planted.name)
def test_what_is_left_breaks_the_same_promise(planted: Planted) -> None:
    """A story that was cut is confirmed by live code, on its promise, with no more faults."""
    found = violation_of(planted)
    left = cut(planted, found)
    assert found.promise == left.promise
    assert left.faults <= found.faults
    assert len(left.story) <= len(found.story)
    assert left.confirmed
    assert words(left) == words(cut(planted, left))


def test_what_is_needless_is_left_out() -> None:
    """Two calls of on_failed need no payment: it goes, with the delivery of its events."""
    planted = NAMED["no claim"]
    found = violation_of(planted)
    longer = with_needless_failure(planted, found)
    left = cut(planted, longer)
    assert len(found.story) + 5 == len(longer.story)
    assert len(found.story) == len(left.story)
    assert "the customer pays" not in left.as_text()
    assert 2 == left.as_text().count("call on_failed")


def test_a_needless_event_is_left_out() -> None:
    """One thing that happens to the world can go alone."""
    planted = NAMED["new key"]
    found = violation_of(planted)
    fails = Step(what="customer", note="a charge fails", happens=(("charged", 1, False),))
    first_end = next(at for at, step in enumerate(found.story) if step.what == "ends") + 1
    story = (*found.story[:first_end], fails, *found.story[first_end:])
    assert words(found) == words(cut(planted, attrs.evolve(found, story=story)))


def test_the_same_story_is_cut_alike() -> None:
    """Cutting depends on nothing but the story."""
    planted = NAMED["no claim"]
    longer = with_needless_failure(planted, violation_of(planted))
    assert cut(planted, longer).as_text() == cut(planted, longer).as_text()


def test_a_needless_fault_is_left_out() -> None:
    """A repeated delivery that changed nothing goes, with its fault, from a dead end as well."""
    planted = NAMED["gives up soon"]
    found = violation_of(planted)
    acknowledged = next(at for at, step in enumerate(found.story) if step.what == "ends" and at > 9)
    head, tail = found.story[: acknowledged + 1], found.story[acknowledged + 1 :]
    again = delivery(planted, head, XEvent(m.INTENT_SUCCESS, 1), "repeat")
    longer = attrs.evolve(found, story=(*head, *again, *tail), faults=found.faults + 1)
    left = cut(planted, longer)
    assert words(found) == words(left)
    assert found.faults == left.faults


def test_a_dead_end_is_kept_as_it_is() -> None:
    """Where nothing can help any more, nothing goes that the last moment depends on."""
    planted = NAMED["finds no work"]
    longer = with_needless_failure(planted, violation_of(planted))
    assert words(longer) == words(cut(planted, longer))


def test_the_point_of_no_return_moves_along() -> None:
    """The mark stays at its step when a step before it goes."""
    planted = NAMED["no claim"]
    found = violation_of(planted)
    longer = attrs.evolve(with_needless_failure(planted, found), no_return=len(found.story) + 5 - 1)
    assert len(found.story) - 1 == cut(planted, longer).no_return


def test_what_cannot_happen_is_left_alone() -> None:
    """A story that live code does not repeat is given back as it came."""
    planted = NAMED["no claim"]
    found = violation_of(planted)
    *most, last = found.story
    odd = attrs.evolve(found, story=(*most, attrs.evolve(last, op=NOTHING)))
    shop = planted.make().shortened(DEFAULT.faults)
    assert odd is sliced(odd, shop, planted.scene, shop.store.snapshot())
