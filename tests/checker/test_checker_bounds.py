"""What the checker finds in correct shops, and that its reductions change nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Hashable
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from xpay_flow import LIFECYCLE, AsyncFlow, Flow, Settings
from xpay_flow import events as ev
from xpay_flow import sample_records as b
from xpay_flow.checker.bounds import DEFAULT, EVENTS, SCENES, SILENCE, Scene
from xpay_flow.checker.engine import Way
from xpay_flow.checker.explore import Search
from xpay_flow.checker.histories import HiddenState
from xpay_flow.checker.moves import _best
from xpay_flow.checker.reductions import NONE, Reductions
from xpay_flow.checker.shop import AnyFlow, Shop
from xpay_flow.checker.targets import shipped
from xpay_flow.checker.verify import check, verify
from xpay_flow.cli.root import xpay_flow as command_line
from xpay_flow.effects import Commit, Load, Now, commit, due, history, now
from xpay_flow.errors import StoreContended
from xpay_flow.flows import FlowContext, deliver, reconcile
from xpay_flow.flows.context import COMMIT_TRIES
from xpay_flow.flows.recording import record_event
from xpay_flow.payment import Payment
from xpay_flow.records import change
from xpay_flow.stores.memory import MemoryStore

from .planted_flows import PLANTED, Planted, shop

ONE_FAULT = attrs.evolve(DEFAULT, name="one fault", faults=1)
NO_FAULT = attrs.evolve(DEFAULT, name="no fault", faults=0)


def test_the_shipped_flow_is_exhausted() -> None:
    """The shipped flow keeps its promises in every scene, with any one fault."""
    result = check(bound=ONE_FAULT)
    assert "EXHAUSTED" == result.verdict, result.as_text()
    assert [scene.name for scene in SCENES] == [scene.scene for scene in result.searched]


def test_each_fault_of_a_scene_happens() -> None:
    """No scene names a kind of fault that cannot happen in it."""
    result = check(bound=ONE_FAULT)
    assert {scene.name: () for scene in SCENES} == {s.scene: s.unused for s in result.searched}


@pytest.mark.slow
def test_the_shipped_flow_is_exhausted_with_two_faults() -> None:
    """The shipped flow keeps its promises in every scene of the default bound."""
    result = check()
    assert "EXHAUSTED" == result.verdict, result.as_text()


def asynchronous() -> AsyncFlow:
    """A shop whose handlers are coroutines."""
    flow = AsyncFlow(MemoryStore(), Settings.sandbox(), background=False)

    async def handler(_: Payment) -> None: ...

    for register in (flow.on_success, flow.on_failed, flow.on_refunded, flow.on_attention):
        register(handler)
    return flow


def extended() -> Flow:
    """A shop with a state and an event of its own."""
    lifecycle = LIFECYCLE.extended(states={"in_review": "redirected"}, events={"held": "in_review"})
    flow = Flow(MemoryStore(), Settings.sandbox(), lifecycle=lifecycle, background=False)
    for register in (flow.on_success, flow.on_failed, flow.on_refunded, flow.on_attention):
        register(lambda _: None)
    return flow


def one_at_a_time(context: FlowContext) -> AnyFlow:
    """A worker that takes one payment each time."""
    return deliver(context, limit=1)


@pytest.mark.parametrize("target", [asynchronous(), extended(), shop(deliver=one_at_a_time)])
def test_a_correct_shop_is_exhausted(target: Flow | AsyncFlow | Shop) -> None:
    """A correct shop that is not ours raises no alarm."""
    scenes = tuple(scene for scene in SCENES if scene.name in ("events", "handlers"))
    result = check(target, attrs.evolve(ONE_FAULT, scenes=scenes))
    assert "EXHAUSTED" == result.verdict, result.as_text()


NAMES = tuple(field.name for field in attrs.fields(Reductions))
WITHOUT = {name: attrs.evolve(Reductions(), **{name: False}) for name in NAMES} | {"any": NONE}


@pytest.mark.parametrize("faults", [0, 1])
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
@pytest.mark.parametrize("without", WITHOUT)
def test_each_reduction_changes_no_outcome(without: str, scene: Scene, faults: int) -> None:
    """Every outcome that can be reached without a reduction is reached with it, and no other."""
    found = []
    for reductions in (Reductions(), WITHOUT[without]):
        made = Shop.of(shipped()).shortened(faults)
        bound = attrs.evolve(NO_FAULT, faults=faults)
        search = Search(made, scene, bound, reductions=reductions)
        found.append((search.run(), anonymous(search.outcomes())))
    (small, outcomes), (large, all_outcomes) = found
    assert ("EXHAUSTED", "EXHAUSTED") == (small.verdict, large.verdict)
    assert all_outcomes == outcomes
    assert small.states <= large.states


def test_an_answer_too_late_is_no_fault() -> None:
    """xPay may send what is on file already once more, although nothing has gone wrong."""
    search = Search(Shop.of(shipped()).shortened(0), EVENTS, NO_FAULT)
    search.run()
    sent_again = [
        received
        for _, delivered, _, stored in search.outcomes()
        for received, delivery in delivered
        for _, intent, _ in stored
        if delivery == "pending"
        and any(recorded.startswith(received.event_id) for recorded in intent.evidence)
    ]
    assert {"intent.failed", "intent.success"} == {received.event_type for received in sent_again}


def test_of_equal_ways_the_cheapest_is_gone() -> None:
    """Of ways to one place the cheapest is taken, the first of equals, and none that stays."""
    dear, cheap, equal = (Way(1, cost, (), name) for cost, name in ((1, "a"), (0, "b"), (0, "c")))
    stays, other = Way(0, 1, (7,), "stays"), Way(2, 1, (), "other")
    assert (other, cheap) == _best([dear, other, stays, cheap, equal], 0, (7,))


def test_nobody_under_check_gives_up_who_loses_races() -> None:
    """A flow gives up after ten lost races, and goes on for ever while it is searched."""
    record = b.attempt("order-1").record
    event = ev.own(ev.SENT_TO_CHECKOUT, 1)
    for context, ends in ((b.RULES, True), (shop().shortened(1).context, False)):
        flow = record_event(record.key, event, context)
        effect = next(flow)
        try:
            for _ in range(10 * COMMIT_TRIES):
                effect = flow.send({Load: (record,), Now: 1, Commit: False}[type(effect)])
        except StoreContended:
            assert ends
        else:
            assert not ends


def anonymous(outcomes: set[Hashable]) -> set[str]:
    """Outcomes in which it does not matter which of two clicks on Pay was the first."""
    return {
        re.sub(
            r"frozenset\(\{([^}]*)\}\)",
            lambda match: str(sorted(match[1].split(", "))),
            str(outcome).replace("click_2", "click_1"),
        )
        for outcome in outcomes
    }


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_reductions_hide_no_bug(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no reduction at all each planted bug is found alike."""
    if planted.patch is not None:
        monkeypatch.setattr(*planted.patch)
    made = planted.make().shortened(planted.faults)
    bound = attrs.evolve(DEFAULT, faults=planted.faults)
    violation = Search(made, planted.scene, bound, reductions=NONE).run().violation
    assert violation is not None
    assert (planted.promise, planted.faults) == (violation.promise, violation.faults)


def asks_for_ever(context: FlowContext) -> AnyFlow:
    """Questions as ours are, and one more each hour after the last."""
    keys = yield from due("reconcile", (yield from now()), 10)
    yield from reconcile(context)
    for key in keys:
        record = (yield from history(key))[0]
        if record.reconcile_at_ms is None:
            later_ms = (yield from now()) + 3_600_000
            yield from commit(change(record, attrs.evolve(record, reconcile_at_ms=later_ms)))


def test_questions_without_end_are_searched_to_an_end() -> None:
    """Where a flow of one's own asks every hour for ever, the search ends, and says where."""
    bound = attrs.evolve(NO_FAULT, scenes=(SILENCE,), transitions_max=200_000)
    result = check(shop(reconcile=asks_for_ever), bound)
    assert "EXHAUSTED" == result.verdict, result.as_text()
    assert "time goes on 4 times" in result.assumptions[-1]


def test_a_limit_is_said() -> None:
    """A search that stops at its limit is UNFINISHED, and fails a test."""
    bound = attrs.evolve(NO_FAULT, transitions_max=10)
    assert "UNFINISHED" == check(bound=bound).verdict


def test_hidden_state_is_refused() -> None:
    """A flow that depends on more than the answers to its effects is refused by name."""
    calls = iter(range(10**6))

    def moody(context: FlowContext) -> AnyFlow:
        return deliver(context, limit=1 + next(calls))

    handlers = tuple(scene for scene in SCENES if scene.name == "handlers")
    with pytest.raises(HiddenState, match="worker yielded"):
        check(shop(deliver=moody), attrs.evolve(ONE_FAULT, scenes=handlers))


def test_one_line_in_a_test() -> None:
    """`verify` makes a test that passes for the shipped flow."""
    verify("xpay_flow.checker.targets:shipped", "default")  # made, and not run: it is slow
    assert "default" in str(verify("shop.payments:build").__doc__)


def test_the_same_story_on_every_run() -> None:
    """A counterexample does not depend on the seed of hashes."""
    code = (
        "import attrs\n"
        "from tests.checker.planted_flows import PLANTED\n"
        "from xpay_flow.checker import check\n"
        "from xpay_flow.checker.bounds import DEFAULT\n"
        "for p in PLANTED[:6]:\n"
        "    b = attrs.evolve(DEFAULT, scenes=(p.scene,))\n"
        "    print(check(p.make(), b).violation.as_text())\n"
    )
    root = str(Path(__file__).parents[2])
    texts = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    ]
    assert texts[0] == texts[1]
    assert "recorded_once" in texts[0]


def test_the_command_tells_all_figures() -> None:
    """`check --json` gives verdict, bound, states, transitions, resumptions, calls and seconds."""
    done = CliRunner().invoke(command_line, ["check", "--faults", "0", "--json"])
    delivered = json.loads(done.output)
    assert 0 == done.exit_code
    assert "EXHAUSTED" == delivered["verdict"]
    figures = ("states", "transitions", "resumptions", "store_calls", "seconds")
    assert all(delivered[name] > 0 for name in figures)
    assert 0 == delivered["scenes"][0]["name"].count(" ")


def test_the_command_fails_with_the_story(monkeypatch: pytest.MonkeyPatch) -> None:
    """A violation is exit code 1, with the story in words and as Mermaid."""
    planted = next(planted for planted in PLANTED if planted.name == "late failed wins")
    assert planted.patch is not None
    monkeypatch.setattr(*planted.patch)
    done = CliRunner().invoke(command_line, ["check", "--faults", "0", "--mermaid"])
    assert 1 == done.exit_code
    assert "VIOLATED" in done.output
    assert "sequenceDiagram" in done.output
    assert "order_does_not_matter" in done.output


def test_a_handler_that_never_works_is_a_dead_end() -> None:
    """No single moment is wrong, and yet the payment can never be fulfilled."""
    flow = shipped()

    @flow.on_success
    def fulfil(_: Payment) -> None:
        raise RuntimeError("the printer is gone")

    found = check(flow, NO_FAULT).violation
    assert found is not None
    assert ("never_stuck", 0) == (found.promise, found.faults)


def test_fewer_faults_beat_an_earlier_scene() -> None:
    """Of two violations the one with fewer faults is reported, although its scene comes later."""
    scenes = tuple(scene for scene in SCENES if scene.name in ("handlers", "beginning"))
    bugs = {planted.name: planted.make() for planted in PLANTED}
    both = attrs.evolve(bugs["deletes first"], click=bugs["new key"].click)
    # `handlers` needs a fault; `beginning` needs none. The first has a click of its own before it.
    alone = check(bugs["deletes first"], attrs.evolve(DEFAULT, scenes=scenes[:1])).violation
    assert alone is not None
    assert 1 == alone.faults
    found = check(both, attrs.evolve(DEFAULT, scenes=scenes)).violation
    assert found is not None
    assert 0 == found.faults
