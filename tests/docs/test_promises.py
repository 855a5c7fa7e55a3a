"""Each promise of the page names tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import attrs
import pytest

from .pages import DOCS, ROOT

TEST_NAME = re.compile(r"`((?:tests|xpay_flow)/[\w/.]+\.py(?:::\w+)+)`")
PART = re.compile(r"^## (?P<number>\d+)\. (?P<title>.+)\n\n> (?P<words>.+)\n", re.M)
TEXT = (DOCS / "explanation" / "promises.md").read_text()


@attrs.frozen
class Promise:
    """One section of the page."""

    number: int
    words: str
    text: str

    @property
    def tests(self) -> list[str]:
        return TEST_NAME.findall(self.text)


def promises() -> list[Promise]:
    starts = list(PART.finditer(TEXT))
    headings = [found.start() for found in re.finditer(r"^## ", TEXT, re.M)] + [len(TEXT)]
    ends = [min(at for at in headings if at > start.start()) for start in starts]
    return [
        Promise(int(start["number"]), start["words"], TEXT[start.start() : end])
        for start, end in zip(starts, ends, strict=True)
    ]


@cache
def names_in(path: Path) -> frozenset[str]:
    """`test_…` of a file, and `Class::test_…`."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{e.name}" for e in node.body if isinstance(e, ast.FunctionDef)}
    return frozenset(found)


def exists(test: str) -> bool:
    path, _, name = test.partition("::")
    return (ROOT / path).is_file() and name in names_in(ROOT / path)


def test_there_are_ten() -> None:
    """The page has the ten promises, in order."""
    assert list(range(1, 11)) == [promise.number for promise in promises()]


@pytest.mark.parametrize("promise", promises(), ids=lambda promise: str(promise.number))
def test_a_promise_is_held_by_tests_that_exist(promise: Promise) -> None:
    """Each promise names at least five tests, each of which can be found by its name."""
    assert 5 <= len(promise.tests)
    assert [] == [test for test in promise.tests if not exists(test)]


@pytest.mark.parametrize("promise", promises(), ids=lambda promise: str(promise.number))
def test_a_promise_says_what_it_does_not_promise(promise: Promise) -> None:
    """Each promise says how it holds, and has at least two limits."""
    parts = promise.text.split("**Not guaranteed.**")
    assert 2 == len(parts)
    assert "**How it holds.**" in parts[0]
    assert 2 <= len(re.findall(r"^- ", parts[1], re.M))


def test_the_readme_begins_each_promise_alike() -> None:
    """The short list of the README cannot say other things than the long one."""
    readme = (ROOT / "README.md").read_text()
    short = re.findall(r"^\d+\. (.+)\.$", readme, re.M)
    odd = [s for s, promise in zip(short, promises(), strict=True) if s not in alike(promise)]
    assert [] == odd


def alike(promise: Promise) -> str:
    """The title and the words of a promise."""
    title = promise.text.splitlines()[0].partition(". ")[2]
    return f"{title}\n{promise.words}"


def test_other_tests_that_pages_name_exist_too() -> None:
    """No page refers to a test that is not there."""
    texts = {path: path.read_text() for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"))}
    odd = [t for text in texts.values() for t in TEST_NAME.findall(text) if not exists(t)]
    assert [] == odd


def test_a_test_that_does_not_exist_is_noticed() -> None:
    """Names are looked for in the file that they name, and nowhere else."""
    assert exists("tests/docs/test_promises.py::test_there_are_ten")
    assert exists("xpay_flow/testing/store_suite.py::StoreSuite::test_a_reader_cannot_write")
    assert not exists("tests/docs/test_promises.py::test_there_are_eleven")
    assert not exists("tests/docs/test_links.py::test_there_are_ten")
    assert not exists("tests/docs/test_nothing.py::test_there_are_ten")
