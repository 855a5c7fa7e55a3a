"""The code blocks of every page are such that they run; `test_install_lines` runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from . import running, showing
from .pages import DOCS, pages, read


def test_no_python_block_is_left_out() -> None:
    """A block that is shown as Python is a block that runs: there is no mark to skip one."""
    odd = [
        f"{block.where} {' '.join(block.words)}"
        for page in pages()
        for block in page.blocks_in("python", "py", "pycon", "python3")
        if block.language != "python" or not set(map(named, block.words)) <= {"title", "in"}
    ]
    assert [] == odd


def named(word: str) -> str:
    """What a word such as `title=shop.py` sets."""
    return word.partition("=")[0] if "=" in word else "nothing"


def test_every_block_has_a_language_that_is_checked() -> None:
    """No block hides from the tests behind an unknown language."""
    known = {"python", "sh", "sql", "json", "text", "mermaid", "toml", "html", "ini"}
    odd = [b.where for page in pages() for b in page.blocks if b.language not in known]
    assert [] == odd


SENTENCE_ENDS = re.compile(r"[a-z`)*\"\]]\.(\*\*)? (?=[A-Z`\[*])")


def test_a_sentence_has_a_line_of_its_own() -> None:
    """A review shows sentences; cells, quotations, generated pages and records are exempt."""
    odd = [
        f"{page.name}:{number}"
        for page in pages()
        if DOCS in page.path.parents and page.path.parent.name not in ("reference", "decisions")
        for number, line in page.prose
        if not line.startswith(("|", ">")) and SENTENCE_ENDS.search(line)
    ]
    assert [] == odd


def test_a_wrong_output_is_noticed(tmp_path: Path) -> None:
    """A page that shows another output than its code prints is refused."""
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text output\n2\n```\n")
    program = running.Program(tmp_path, running.free_ports())
    with pytest.raises(AssertionError, match=r"page\.md:6: the block above prints\n1"):
        program.run(read(page))


def test_an_output_may_be_shortened_where_it_says_so() -> None:
    """`…` stands for lines or words that are left out, and nothing is left out without it."""
    printed = "one\ntwo 0.1 s\nthree  \n"
    for shown in (printed, "…\ntwo … s\n…\n", "one\n…\nthree\n", "…\n"):
        assert showing.fits(shown, printed)
    for shown in ("one\nthree\n", "one\n", "…\nfour\n…\n", "one … \n…\n", ""):
        assert not showing.fits(shown, printed)


def test_functions_of_a_file_are_replaced() -> None:
    """A block takes the place of functions by name; one that was not there before is a mistake."""
    source = "import a\n\ndef f():\n    a()\n\ndef g():\n    f()\n"
    after = showing.changed(source, "def g():\n    pass\n\ndef f():\n    return 1\n")
    assert "import a\n\ndef f():\n    return 1\n\ndef g():\n    pass\n" == after
    with pytest.raises(KeyError, match="h"):
        showing.changed(source, "def h():\n    pass\n")


def test_a_block_that_shows_a_file_must_be_that_file(tmp_path: Path) -> None:
    """Code that a page shows as a file of the repository cannot drift from it."""
    page = tmp_path / "page.md"
    page.write_text("```python title=tests/docs/pages.py\nprint(1)\n```\n")
    program = running.Program(tmp_path, running.free_ports())
    with pytest.raises(AssertionError, match="says otherwise"):
        program.run(read(page))
