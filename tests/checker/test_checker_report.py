"""The page that is shown to others."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import attrs
import pytest

from xpay_flow.checker.bounds import DEFAULT, SCENES
from xpay_flow.checker.charts import charts
from xpay_flow.checker.report import report_html
from xpay_flow.checker.verdict import ASSUMPTIONS, OUTSIDE, Result, Searched
from xpay_flow.checker.verify import check

from .example_report import example

VOID = {"meta", "br", "rect", "path", "circle"}


class Page(HTMLParser):
    """Refuses what is not closed; gathers texts and what a browser would fetch or run."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.dangers: list[str] = []
        self.feed(source)
        assert [] == self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        names = {name for name, _ in attrs}
        if tag in ("script", "link", "img", "iframe") or names & {"src", "href", "onclick"}:
            self.dangers.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closed in itself."""

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def exhausted() -> Result:
    """A verdict for the shipped flow, with one scene's states counted by sort."""
    bound = attrs.evolve(DEFAULT, name="no fault", faults=0, scenes=SCENES[:2])
    result = check(bound=bound)
    first, second = result.searched
    counted = attrs.evolve(first, histogram={"faults": (7,), "running": (1, 4, 2)})
    return attrs.evolve(result, searched=(counted, second), target="shop.payments:build")


@pytest.mark.parametrize("name", ["newest wins", "gives up soon", "chokes on types", "new key"])
def test_a_broken_promise_is_shown_whole(name: str) -> None:
    """The page of a violation has promise, sentence, each step, its code, and each write."""
    result = example(name)
    found = result.violation
    assert found is not None
    shown = Page(report_html(result)).text
    assert "VIOLATED" in shown
    for word in (found.promise, found.sentence[1:]):
        assert word in shown
    for step in found.story:
        assert (step.end if step.what == "ends" else step.action) in shown
        assert step.where in shown
        assert step.trouble in shown
    assert "replayed with live code" in shown


def test_a_lost_update_is_red() -> None:
    """What a write took away from the store is shown as gone."""
    source = report_html(example("newest wins"))
    assert '<tr class="lost"><td>evidence intent.failed</td>' in source
    assert '<td class="now">gone</td>' in source


def test_an_exhausted_search_is_shown_whole() -> None:
    """The page has verdict, target, bound, figures, assumptions and what is left out."""
    result = exhausted()
    shown = Page(report_html(result)).text
    assert "EXHAUSTED" in shown
    assert "shop.payments:build" in shown
    assert "How it happens" not in shown
    for scene in result.searched:
        assert scene.scene in shown
        assert f"{scene.states:,}" in shown
        assert f"{scene.transitions:,}" in shown
    assert f"{result.total('store_calls'):,}" in shown
    for words in (*ASSUMPTIONS, *OUTSIDE):
        assert words[1:] in shown
    assert "broken" not in shown


def test_an_unfinished_search_proves_nothing() -> None:
    """A search that came to its limit reports no promise as kept."""
    result = check(bound=attrs.evolve(DEFAULT, transitions_max=10))
    shown = Page(report_html(result)).text
    assert "so nothing is proven" in shown
    assert " kept " not in shown
    assert "not proven" in shown


def test_what_never_happened_is_said() -> None:
    """A kind of fault that could not happen is named with its scene."""
    result = exhausted()
    first = attrs.evolve(result.searched[0], unused=("forgery",))
    shown = Page(report_html(attrs.evolve(result, searched=(first,)))).text
    assert f"{first.scene}: a forged webhook" in shown
    assert f"would show more: {SCENES[1].name}" in shown


@pytest.mark.parametrize("make", [exhausted, lambda: example("gives up soon")])
def test_the_page_needs_nothing(make: object) -> None:
    """No script, no address, nothing to fetch, and a policy that would forbid it."""
    assert callable(make)
    source = report_html(make())
    assert [] == Page(source).dangers
    assert "default-src 'none'" in source
    assert [] == re.findall(
        r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", _without_text(source)
    )


def _without_text(source: str) -> str:
    return re.sub(r">[^<]*<", "><", re.sub(r"<style>.*?</style>", "", source, flags=re.DOTALL))


def test_hostile_words_stay_words() -> None:
    """A target or a sentence with markup in it is shown and not obeyed."""
    hostile = '"><script>alert(1)</script>'
    result = example("new key")
    found = result.violation
    assert found is not None
    worse = attrs.evolve(found, sentence=hostile)
    scene = attrs.evolve(result.searched[0], violation=worse)
    page = Page(report_html(attrs.evolve(result, searched=(scene,), target=hostile)))
    assert [] == page.dangers
    assert hostile in page.text


def test_the_page_is_the_same_each_time() -> None:
    """Nothing in the page depends on the moment it is written."""
    result = example("newest wins")
    assert report_html(result) == report_html(result)


def searched(name: str, states: int, **histogram: tuple[int, ...]) -> Searched:
    """Figures of a scene that was not searched."""
    return Searched(
        scene=name,
        verdict="EXHAUSTED",
        states=states,
        transitions=0,
        resumptions=0,
        store_calls=0,
        seconds=0.0,
        histogram=histogram,
    )


def test_charts_add_up() -> None:
    """A bar is the sum over all scenes; a scene without such a count adds nothing."""
    drawn = dict(charts([searched("a", 30, faults=(10, 20)), searched("b", 5, faults=(5,))]))
    assert "a: 30; b: 5" in drawn["States by scene"]
    assert "0 faults: 15; 1 fault: 20" in drawn["States by number of faults"]


def test_few_is_seen_beside_many() -> None:
    """A bar of one state beside one of a million has a width."""
    (_, svg), *_ = charts([searched("a", 1), searched("b", 1_000_000)])
    widths = [float(width) for width in re.findall(r'<rect[^>]* width="([\d.]+)"', svg)]
    assert 2 == min(widths)


def test_a_search_without_time_has_no_rate() -> None:
    """Figures of a search that took no measurable time do not divide by it."""
    assert 0.0 == searched("a", 3).states_per_s


def test_an_unknown_example_is_refused() -> None:
    """A request for a bug that is not planted is an error that lists the planted ones."""
    with pytest.raises(SystemExit, match="newest wins"):
        example("no such bug")
