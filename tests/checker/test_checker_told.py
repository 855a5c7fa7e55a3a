"""How a story is shown: threads, marks, Mermaid, the code of each effect, and what was written."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import attrs
import pytest

from xpay_flow.checker.bounds import DEFAULT
from xpay_flow.checker.changes import changes
from xpay_flow.checker.marks import conflict
from xpay_flow.checker.picture import story_svg
from xpay_flow.checker.story import Step
from xpay_flow.checker.telling import mark_trace
from xpay_flow.checker.verdict import Violation
from xpay_flow.checker.verify import check
from xpay_flow.records import Record

from .planted_flows import PLANTED

UNPATCHED = [planted.name for planted in PLANTED if planted.patch is None]
ROOT = Path(__file__).parents[2]


@cache
def violation_of(name: str) -> Violation:
    """The counterexample to one planted bug."""
    planted = next(planted for planted in PLANTED if planted.name == name)
    found = check(planted.make(), attrs.evolve(DEFAULT, scenes=(planted.scene,))).violation
    assert found is not None
    return found


@pytest.mark.parametrize("name", UNPATCHED)
def test_every_step_of_a_flow_is_of_one_that_runs(name: str) -> None:
    """Each flow has one lifeline, from its first step to its last."""
    lanes = violation_of(name).marked_trace.lanes
    for at, row in enumerate(lanes.rows):
        if row.task is not None:
            assert lanes.tasks[row.task].runs_at(at)
    firsts = [lanes.rows[task.first].step.what for task in lanes.tasks]
    assert ["starts"] * len(lanes.tasks) == firsts


def test_flows_of_one_kind_are_told_apart() -> None:
    """Two workers are two parties, with two names and two threads."""
    found = violation_of("no claim")
    assert {"worker (1)", "worker (2)"} < set(found.marked_trace.lanes.parties)
    text = found.as_text()
    assert "worker (1): call on_success" in text
    assert "worker (2): call on_success" in text


def test_two_writes_upon_one_version_are_the_conflict() -> None:
    """Of two confirmed writes that expected the same version, both are marked, each with the
    number of the other."""
    found = violation_of("newest wins")
    pair = found.marked_trace.clash
    assert pair is not None
    steps = [found.story[at] for at in pair]
    assert [True, True] == [step.answer for step in steps]
    assert 1 == len({step.op.change.expected_version for step in steps})
    lines = found.as_text().split("\n")
    assert f"conflicts with step {pair[1] + 1}" in lines[2 + pair[0]]
    assert f"conflicts with step {pair[0] + 1}" in lines[2 + pair[1]]


def test_two_calls_are_the_conflict_where_one_is_promised() -> None:
    """Two calls of one handler are marked if that is what is wrong, and else they are not."""
    found = violation_of("no claim")
    assert ["call on_success"] * 2 == [
        found.story[at].action for at in found.marked_trace.clash or ()
    ]
    assert conflict("never_stuck", found.marked_trace.lanes) is None


def test_two_creations_are_the_conflict_where_two_can_be_paid() -> None:
    """Two requests under two keys are marked if the customer can pay both intents."""
    found = violation_of("new key")
    pair = found.marked_trace.clash
    assert pair is not None
    assert [200, 200] == [found.story[at].answer.status for at in pair]


@pytest.mark.parametrize(
    ("name", "change"), [("finds no work", "the customer pays"), ("any end", "commit ")]
)
def test_the_point_of_no_return_is_marked(name: str, change: str) -> None:
    """Where a payment is stuck, the step after which nothing helps is marked in every form."""
    found = violation_of(name)
    no_return = found.marked_trace.no_return
    assert no_return is not None
    assert found.story[no_return].action.startswith(change)
    assert not [s for s in found.story[no_return + 1 :] if s.action.startswith("commit")]
    assert 1 == found.as_text().count("point of no return")
    assert 1 == found.as_mermaid().count("point of no return")
    assert "point of no return" in story_svg(found.marked_trace)


def test_an_earlier_point_of_no_return_is_kept() -> None:
    """A story that goes on after the point of no return has its mark where that was."""
    found = attrs.evolve(violation_of("any end"), no_return=4)
    line = next(line for line in found.as_text().split("\n") if "point of no return" in line)
    assert "5" == line.split()[0]


def test_what_is_not_stuck_has_no_point_of_no_return() -> None:
    """A moment that is wrong in itself is not called a point of no return."""
    assert "point of no return" not in violation_of("newest wins").as_text()


def test_faults_are_red_in_mermaid() -> None:
    """Each fault has a red band and a note, and nothing else than marks has."""
    found = violation_of("gives up soon")
    text = found.as_mermaid()
    assert 2 == found.faults == text.count("✗ fault".replace("✗", f"#{ord('✗')};"))
    # Two faults, the point of no return and the promise.
    assert 4 == text.count("rect rgba(220, 38, 38") == text.count("\n  end")


@pytest.mark.parametrize("name", UNPATCHED)
def test_mermaid_names_every_party_once(name: str) -> None:
    """Each arrow and note in Mermaid is between parties that are declared."""
    lines = violation_of(name).as_mermaid().split("\n  ")
    assert "sequenceDiagram" == lines[0]
    declared = [line.split()[1] for line in lines if line.startswith("participant")]
    assert len(declared) == len(set(declared))
    for line in lines:
        if "->>" in line:
            source, _, target = line.partition(":")[0].replace("-->>", "->>").partition("->>")
            assert {source, target} <= set(declared), line


@pytest.mark.parametrize("name", UNPATCHED)
def test_every_effect_names_the_code_that_asked(name: str) -> None:
    """Replayed with live code, each effect has a file and a line that exist and yield."""
    for step in violation_of(name).story:
        if step.what != "does":
            assert "" == step.where
            continue
        file, _, line = step.where.rpartition(":")
        source = (ROOT / file).read_text("utf-8").splitlines()[int(line) - 1]
        assert "yield" in source, step.where
        assert "effects.py" not in file


def test_code_of_a_user_is_named_from_the_working_directory() -> None:
    """An effect that a flow of the user's yielded points into the user's file."""
    worker = [step for step in violation_of("no claim").story if "call on_success" in step.action]
    code = Path(__file__).parent / "mutants" / "workers.py"
    assert {str(code.relative_to(Path.cwd()))} == {step.where.rpartition(":")[0] for step in worker}


def test_a_write_knows_the_store_before_and_after() -> None:
    """Contents around a write are those of the store; the lost update shows as a loss."""
    found = violation_of("newest wins")
    assert found.marked_trace.clash is not None
    last = found.story[found.marked_trace.clash[1]].seen
    assert last is not None
    assert last.before is not None
    assert last.after is not None
    lost = {change.what for change in changes(last.before, last.after) if change.is_loss}
    assert {"evidence intent.failed"} == lost


def test_a_commit_that_changed_nothing_shows_nothing() -> None:
    """Around a commit that failed without effect the store is the same."""
    failed = next(step for step in violation_of("swallows").story if step.fault)
    assert failed.seen is not None
    assert failed.seen.before == failed.seen.after
    assert "the store fails and changes nothing" == failed.trouble


def test_equal_contents_have_no_changes() -> None:
    """Only what differs is listed."""
    record = Record(key="attempt:sandbox/local:1:order-42", version=3)
    assert () == changes((record,), (record,))
    assert ["version"] == [
        change.what for change in changes((record,), (attrs.evolve(record, version=4),))
    ]


@pytest.mark.parametrize("name", UNPATCHED)
def test_the_picture_is_well_formed(name: str) -> None:
    """The SVG is XML, has a lifeline for each party, and names the broken promise."""
    found = violation_of(name)
    picture = ElementTree.fromstring(story_svg(found.marked_trace))
    words = "".join(picture.itertext())
    assert found.promise in words
    lines = [e for e in picture.iter() if "xf-life" in e.get("class", "").split()]
    assert len(found.marked_trace.lanes.parties) == len(lines)


def test_hostile_words_stay_words() -> None:
    """Words of a story cannot leave an SVG, a line of text, or Mermaid."""
    hostile = "</svg><script>alert(1)</script>; end\n    \x1b[2Jrect #x"
    step = Step(what="xpay", note=hostile)
    found = Violation(scene="s", promise="p", sentence=hostile, story=(step,), faults=0)
    svg = story_svg(mark_trace("p", hostile, found.story, None))
    assert "<script" not in svg
    ElementTree.fromstring(svg)
    assert "\x1b" not in found.as_text()
    assert 4 == len(found.as_text().split("\n"))
    assert not [
        line for line in found.as_mermaid().split("\n") if line.strip().startswith("rect #")
    ]


def test_what_is_wrong_from_the_start_is_told() -> None:
    """A promise that is broken before anything happens has a story without steps."""
    found = Violation(scene="s", promise="never_stuck", sentence="broken", story=(), faults=0)
    assert 3 == len(found.as_text().split("\n"))
    assert "broken" in found.as_mermaid()
    assert "broken" in story_svg(found.marked_trace)
