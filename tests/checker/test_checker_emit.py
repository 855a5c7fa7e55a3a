"""A story becomes a test, and the command writes what its options request."""

from __future__ import annotations

import ast
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

import xpay_flow.checker
from xpay_flow.checker.bounds import DEFAULT
from xpay_flow.checker.emit import emitted_test
from xpay_flow.checker.verdict import Progress, Violation
from xpay_flow.checker.verify import check
from xpay_flow.cli import searching
from xpay_flow.cli.root import xpay_flow as command_line

from .planted_flows import PLANTED, Planted

SEED = "1.handlers.0f3a"


def planted(name: str) -> Planted:
    return next(planted for planted in PLANTED if planted.name == name)


@pytest.fixture
def found() -> Violation:
    """A violation as the command finds it."""
    bug = planted("no claim")
    violation = check(bug.make(), attrs.evolve(DEFAULT, scenes=(bug.scene,))).violation
    assert violation is not None
    return attrs.evolve(violation, seed=SEED)


def run(source: str, replay: Callable[[str, str], Violation | None], patch: Any) -> None:
    """Runs the one test in an emitted module."""
    patch.setattr(xpay_flow.checker, "replay", replay, raising=False)
    names: dict[str, Any] = {}
    exec(compile(source, "test_emitted.py", "exec"), names)
    (test,) = [value for name, value in names.items() if name.startswith("test_")]
    test()


def test_the_emitted_test_fails_with_the_story(
    found: Violation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the story breaks its promise the test fails, and prints it."""
    calls: list[tuple[str, str]] = []

    def replay(seed: str, target: str) -> Violation:
        calls.append((seed, target))
        return found

    source = emitted_test(found, "shop.payments:build", DEFAULT)
    with pytest.raises(AssertionError, match="handlers_are_called_once"):
        run(source, replay, monkeypatch)
    assert [(SEED, "shop.payments:build")] == calls


def test_the_emitted_test_passes_once_mended(
    found: Violation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the story breaks nothing any more the test passes."""
    run(emitted_test(found, "shop:build", DEFAULT), lambda *_: None, monkeypatch)


def test_the_emitted_test_reads_well(found: Violation) -> None:
    """It opens with what was broken, and holds the whole story as a comment."""
    source = emitted_test(found, "shop.payments:build", DEFAULT)
    assert "handlers_are_called_once was broken" in str(ast.get_docstring(ast.parse(source)))
    for line in found.as_text().split("\n"):
        assert f"# {line}".rstrip() in source
    assert "def test_handlers_are_called_once_in_handlers() -> None:" in source


def test_hostile_words_do_not_end_a_comment(found: Violation) -> None:
    """Line breaks and quotes in a story, a seed or a target stay within their places."""
    hostile = 'x"""\nraise SystemExit("\\"'
    worse = attrs.evolve(found, promise=hostile, sentence=hostile, seed=hostile)
    tree = ast.parse(emitted_test(worse, hostile, attrs.evolve(DEFAULT, name=hostile)))
    assert [] == [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    quoted = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert 2 == quoted.count(hostile)


def test_without_a_seed_there_is_no_test(found: Violation) -> None:
    """A violation that cannot be done again is refused."""
    with pytest.raises(ValueError, match="without a seed"):
        emitted_test(attrs.evolve(found, seed=""), "shop:build", DEFAULT)


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    """`--report` writes the page and leaves what is printed as it is."""
    page = tmp_path / "out.html"
    done = CliRunner().invoke(command_line, ["check", "--faults", "0", "--report", str(page)])
    assert 0 == done.exit_code
    assert "EXHAUSTED within the bound" in done.output
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_a_page_that_is_piped_is_alone() -> None:
    """With `--report -` standard output is the page; the verdict is on standard error."""
    done = CliRunner().invoke(command_line, ["check", "--faults", "0", "--report", "-"])
    assert done.stdout.startswith("<!doctype html>")
    assert done.stdout.endswith("</html>\n")
    assert "EXHAUSTED within the bound" in done.stderr


def test_nothing_broken_is_no_test(tmp_path: Path) -> None:
    """`--emit-test` writes no file where no promise is broken, and reports that."""
    file = tmp_path / "test_story.py"
    done = CliRunner().invoke(command_line, ["check", "--faults", "0", "--emit-test", str(file)])
    assert 0 == done.exit_code
    assert "no test to write" in done.stderr
    assert not file.exists()


def test_progress_is_told_with_its_rate() -> None:
    """The line of a long search shows where it is, how far, and how fast."""
    line = searching.progress_line(
        Progress(
            scene="events", faults=1, states=50_000, transitions=90_000, seconds=2.5, frontier=800
        )
    )
    assert "events, 1 fault: 50,000 states" in line
    assert "20,000 states/s" in line


def test_progress_without_time_has_no_rate() -> None:
    """The first event may come before any time has passed."""
    first = Progress(scene="events", faults=0, states=1, transitions=0, seconds=0.0, frontier=1)
    assert "0 states/s" in searching.progress_line(first)


def test_nobody_is_told_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard error is no terminal nothing is drawn."""
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with searching.watched() as watch:
        assert watch is None


def test_a_terminal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the search's progress is shown, on standard error."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    with searching.watched() as watch:
        assert watch is not None
        watch(Progress(scene="events", faults=2, states=9, transitions=9, seconds=1.0, frontier=3))
    assert "events, 2 faults" in stderr.getvalue()
