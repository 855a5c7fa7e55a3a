"""What is on the pages? Their code blocks, links and headings, read from the Markdown."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`]*)$")
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (?P<text>.+)$")
_INLINE_CODE = re.compile(r"`[^`]*`")


@attrs.frozen(kw_only=True)
class Block:
    """A fenced block. `title` is the file that it shows; of `changes` it shows some functions."""

    page: Path
    line: int  # of its first line of code, from 1
    language: str
    words: tuple[str, ...]  # what follows the language
    text: str

    @property
    def title(self) -> str | None:
        return self._word("title=")

    @property
    def changes(self) -> str | None:
        return self._word("in=")

    @property
    def is_output(self) -> bool:
        return self.language == "text" and "output" in self.words

    def _word(self, prefix: str) -> str | None:
        return next((w.removeprefix(prefix) for w in self.words if w.startswith(prefix)), None)

    @property
    def where(self) -> str:
        return f"{_shown(self.page)}:{self.line}"


@attrs.frozen(kw_only=True)
class Page:
    """One Markdown file."""

    path: Path
    blocks: tuple[Block, ...]
    prose: tuple[tuple[int, str], ...]  # numbered lines outside of blocks

    @property
    def name(self) -> str:
        return _shown(self.path)

    def blocks_in(self, *languages: str) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks if block.language in languages)

    @property
    def install(self) -> tuple[str, ...] | None:
        """What its install line names, if it has one."""
        lines = [line for b in self.blocks_in("sh") for line in b.text.splitlines()]
        ours = [line for line in lines if line.startswith("pip install 'xpay-flow[")]
        found = [tuple(shlex.split(line)[2:]) for line in ours]
        assert len(found) < 2, f"{self.name} has more than one install line"
        return found[0] if found else None

    def links(self) -> Iterator[tuple[int, str]]:
        """Line and target of every link and picture."""
        for number, line in self.prose:
            for found in _LINK.finditer(_INLINE_CODE.sub("", line)):
                yield number, found["target"]

    def anchors(self) -> set[str]:
        """The names under which its headings can be linked to, as GitHub makes them."""
        found = (_HEADING.match(line) for _, line in self.prose)
        return {_anchor(heading["text"]) for heading in found if heading}


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def _anchor(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


@cache
def read(path: Path) -> Page:
    """The page in this file."""
    blocks: list[Block] = []
    prose: list[tuple[int, str]] = []
    lines = iter(enumerate(path.read_text().splitlines(), 1))
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            prose.append((number, line))
            continue
        language, *words = fence["info"].split() or [""]
        indent = len(fence["indent"])
        body = [text[indent:] for text in _until_fence(lines, path, number)]
        blocks.append(
            Block(
                page=path,
                line=number + 1,
                language=language,
                words=tuple(words),
                text="".join(f"{text}\n" for text in body),
            )
        )
    return Page(path=path, blocks=tuple(blocks), prose=tuple(prose))


def _until_fence(lines: Iterator[tuple[int, str]], path: Path, began: int) -> Iterator[str]:
    for _, line in lines:
        if line.strip() == "```":
            return
        yield line
    raise ValueError(f"{path}:{began}: this block does not end")


def installed_for(page: Page) -> tuple[str, ...]:
    """What a reader of this page has installed: what it says, or else what the README does."""
    found = page.install or read(ROOT / "README.md").install
    assert found is not None
    return found


def pages() -> list[Page]:
    """Every page that we publish."""
    found = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
    return [read(path) for path in found]


def docs_module(name: str) -> Any:
    """A module of the folder `docs`. Under pytest that name is taken by these tests."""
    if "pages_of_docs" not in sys.modules:
        package = types.ModuleType("pages_of_docs")
        package.__path__ = [str(DOCS)]
        sys.modules[package.__name__] = package
    return importlib.import_module(f"pages_of_docs.{name}")
