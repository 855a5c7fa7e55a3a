"""A story in eighty characters: written, read, replayed, and distinguished from another."""

from __future__ import annotations

import attrs
import pytest
from click.testing import CliRunner

from xpay_flow import ConfigurationError
from xpay_flow.checker import check, replay
from xpay_flow.checker.bounds import DEFAULT, EVENTS, HANDLERS
from xpay_flow.checker.replaying import replayed
from xpay_flow.checker.seeds import SEED_CHARS_MAX, Seed
from xpay_flow.checker.targets import shipped
from xpay_flow.cli.root import xpay_flow as command_line

from .planted_flows import PLANTED, Planted

WITHOUT_PATCH = [planted for planted in PLANTED if planted.patch is None]


def broken(planted: Planted) -> str:
    """The seed of a planted bug's story."""
    found = check(planted.make(), attrs.evolve(DEFAULT, scenes=(planted.scene,))).violation
    assert found is not None
    return found.seed


@pytest.mark.parametrize("planted", WITHOUT_PATCH, ids=lambda planted: planted.name)
def test_a_story_is_told_again_from_its_seed(planted: Planted) -> None:
    """A seed of at most 80 characters brings back the promise, its faults and each step."""
    found = check(planted.make(), attrs.evolve(DEFAULT, scenes=(planted.scene,))).violation
    assert found is not None
    assert len(found.seed) <= SEED_CHARS_MAX
    again = replay(found.seed, planted.make())
    assert again is not None
    assert (found.promise, found.faults) == (again.promise, again.faults)
    assert len(again.story) >= len(found.story)
    assert again.confirmed


def test_a_mended_shop_breaks_nothing() -> None:
    """The story of a bug, followed with code that does not have it, ends well or goes elsewhere."""
    for planted in WITHOUT_PATCH[:6]:
        assert replay(broken(planted), shipped()) is None


def test_it_is_said_where_code_goes_another_way() -> None:
    """A seed of one shop, followed in another, reports the first step that is not the same."""
    planted = next(p for p in WITHOUT_PATCH if p.name == "2xx first")
    again = replayed(broken(planted), shipped())
    assert again.violation is None
    assert "step 2 of 2" in again.diverged
    assert again.steps


def test_a_seed_is_read_as_it_was_written() -> None:
    """Seeds with small and large ordinals, and without marks where they are too long."""
    short = Seed(scene=EVENTS.name, faults=2, promise="ab", ways=((0, "x"), (61, "y"), (700, "z")))
    assert short == Seed.read(str(short))
    ways = tuple((n, "m") for n in range(40))
    long = Seed(scene=HANDLERS.name, faults=0, promise="ab", ways=ways)
    assert len(str(long)) <= SEED_CHARS_MAX
    assert [n for n, _ in ways] == [n for n, _ in Seed.read(str(long)).ways]


@pytest.mark.parametrize("text", ["", "x2", "x1.02ab.0G", "x2.Z2ab.0G", "x2.02ab.0G-", "hello.a.b"])
def test_what_is_no_seed_is_refused(text: str) -> None:
    """Anything else is refused with a sentence, and never half followed."""
    with pytest.raises(ConfigurationError, match="is no seed of this version"):
        replay(text)


def test_the_command_says_that_a_story_breaks_nothing() -> None:
    """`xpay-flow replay` ends with 0 for a story that ends well with the shipped flow."""
    ended = CliRunner().invoke(
        command_line, ["replay", broken(next(p for p in PLANTED if p.name == "new key"))]
    )
    assert ended.exit_code in (0, 3), ended.output
    assert "breaks nothing now" in ended.output or "went another way" in ended.output


def test_the_command_tells_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """`xpay-flow replay` ends with 1 while the story still breaks its promise."""
    planted = next(p for p in PLANTED if p.name == "late failed wins")
    assert planted.patch is not None
    monkeypatch.setattr(*planted.patch)
    found = check(bound=attrs.evolve(DEFAULT, scenes=(planted.scene,))).violation
    assert found is not None
    ended = CliRunner().invoke(command_line, ["replay", found.seed, "--mermaid"])
    assert 1 == ended.exit_code
    assert "order_does_not_matter" in ended.output
    assert "sequenceDiagram" in ended.output
