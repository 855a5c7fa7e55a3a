"""The benchmarks run, do the work that they time, and report what they measured."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import pytest

from benchmarks import waiting
from benchmarks.measure import SHORT

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"

pytestmark = pytest.mark.slow


@attrs.frozen
class Run:
    """What one short run has left."""

    report: dict[str, Any]
    picture: Path

    @property
    def groups(self) -> dict[str, list[dict[str, Any]]]:
        return {group["title"]: group["rows"] for group in self.report["groups"]}

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for rows in self.groups.values() for row in rows]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """As a person would start it, in a process of its own."""
    picture = tmp_path_factory.mktemp("artefacts") / "folder" / "bench.svg"
    command = [sys.executable, "-m", "benchmarks", "--short", "--json", "--picture", str(picture)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ("", 0) == (done.stderr, done.returncode)
    return Run(json.loads(done.stdout), picture)


def test_every_question_is_answered(run: Run) -> None:
    """Each question has rows, and what is ours stands beside an opponent of the same run."""
    wanted = {
        "units of this machine": "overwrite 4 KiB of a file and flush it",
        "webhook that pays an order, over ASGI, in process": "xpay-flow: AsyncFlow",
        "webhook that came before, over ASGI, in process": "xpay-flow: AsyncFlow",
        "webhook that pays an order, over WSGI, in process": "xpay-flow: Flow",
        "webhook that came before, over WSGI, in process": "xpay-flow: Flow",
        "webhook over uvicorn, one at a time": "xpay-flow: AsyncFlow",
        "webhook over uvicorn, 8 at a time": "xpay-flow: AsyncFlow",
        "webhooks on SQLite, 32 at a time": "an app that does nothing",
        "webhooks on SQLite, flushes 1 ms longer, 32 at a time": "xpay-flow: AsyncFlow",
        "webhooks on PostgreSQL, 32 at a time": "xpay-flow: AsyncFlow, each commit alone",
        "webhooks on PostgreSQL, 200 a second": "xpay-flow: AsyncFlow",
        "webhooks on PostgreSQL, flushes 2 ms longer, 32 at a time": "xpay-flow: AsyncFlow",
        "ten that are due on SQLite, among others": "1,000 stored intents",
        "a webhook on SQLite, among others": "1,000 stored intents",
        "ten that are due on PostgreSQL, among others": "1,000 stored intents",
        "a webhook on PostgreSQL, among others": "1,000 stored intents",
        **{
            title: "2,000 events"
            for where in ("in memory", "on SQLite", "on PostgreSQL")
            for title in (
                f"a webhook {where}, after others",
                f"a status query {where}, after webhooks",
            )
        },
        **{
            f"{figure}{where}": row
            for where in waiting.KINDS
            for figure, row in (
                ("a webhook on ", f"among {SHORT.strangers} strangers"),
                ("until a payment is shown, on ", "in another process"),
            )
        },
        "where a webhook's time goes (Flow, in process)": "decide",
        "from a webhook's commit to on_success": "Flow, one at a time",
        "a paid order, from a rush to its handler": "on_success, 2 at a time",
        "one decision": "decide",
        "import": "import xpay_flow",
        "a state of a small world": "the search",
        "three overlapping deliveries of six effects": "the search",
        "a state of the scene events": "the search: a state",
        "the shipped flow, searched to its end": "any 1 fault(s)",
    }
    notes = [note for group in run.report["groups"] for note in group["notes"]]
    if "slower flushes are measured on Linux, with a C compiler" in notes:
        del wanted["webhooks on SQLite, flushes 1 ms longer, 32 at a time"]
    assert list(wanted) == list(run.groups)
    for title, name in wanted.items():
        assert name in [row["name"] for row in run.groups[title]]


def test_figures_are_positive_times(run: Run) -> None:
    """Every sample is a time, and median, spread and worst are in order."""
    for row in run.rows:
        samples = [sample for turn in row["turns_s"] for sample in turn]
        assert samples
        assert all(math.isfinite(sample) and 0 < sample < 60 for sample in samples), row["name"]
        assert min(samples) <= row["p10_s"] <= row["p90_s"] <= row["worst_s"] == max(samples)


def test_medians_and_ratios_are_those_of_the_samples(run: Run) -> None:
    """What is shown follows from the samples, and a ratio from samples of the same turns."""
    for rows in run.groups.values():
        by_name = {row["name"]: row for row in rows}
        for row in rows:
            samples = [sample for turn in row["turns_s"] for sample in turn]
            assert statistics.median(samples) == row["median_s"]
            opponent = by_name[row["against"] or row["name"]]
            pairs = zip(row["turns_s"], opponent["turns_s"], strict=True)
            ratios = [statistics.median(mine) / statistics.median(its) for mine, its in pairs]
            assert statistics.median(ratios) == pytest.approx(row["ratio"])


def test_the_steps_add_up_to_the_whole(run: Run) -> None:
    """No step of a webhook is counted twice or left out."""
    whole, *steps = run.groups["where a webhook's time goes (Flow, in process)"]
    covered: list[float] = []
    for turn, samples in enumerate(whole["turns_s"]):
        for webhook, seconds in enumerate(samples):
            parts = sum(step["turns_s"][turn][webhook] for step in steps)
            covered.append(parts / seconds)
    # The stopwatch stops a moment before its caller's, and now and then the machine takes a break.
    assert 0.9 < statistics.median(covered)
    assert max(covered) <= 1
    assert {"verify the signature", "decide", "COMMIT: write the log, flush the disk"} < {
        step["name"] for step in steps
    }


def test_a_contestant_that_does_less_is_quicker(run: Run) -> None:
    """Where one contestant does a small part of another's work, the figures show it."""
    decision = {row["name"]: row["median_s"] for row in run.groups["one decision"]}
    assert decision["a state looked up in a dict"] < decision["decide"] / 5
    again = {
        row["name"]: row["median_s"]
        for row in run.groups["webhook that came before, over WSGI, in process"]
    }
    assert again["by hand: WSGI + sqlite3"] < again["xpay-flow: Flow"]


def test_the_picture_has_a_bar_for_each_row(run: Run) -> None:
    """The picture is an SVG that shows every row, and no bar leaves it."""
    picture = ElementTree.parse(run.picture).getroot()
    words = [text.text for text in picture.iter(f"{SVG}text")]
    bars = [bar for bar in picture.iter(f"{SVG}rect") if bar.get("class")]
    assert len(run.rows) == len(bars)
    for title, rows in run.groups.items():
        assert title in words
        assert all(row["name"] in words for row in rows)
    for bar in bars:
        assert 0 < float(bar.attrib["width"]) < float(picture.attrib["width"])
