"""Links lead somewhere, and every page can be found."""

from __future__ import annotations

from pathlib import Path

import pytest

from .pages import DOCS, ROOT, Page, pages, read

INDEX = DOCS / "README.md"
# Foreign addresses are not followed: tests use no network.
FOREIGN = ("https://", "mailto:")


def local_links(page: Page) -> list[tuple[int, Path, str]]:
    """Line, file and anchor of every link that stays here."""
    found: list[tuple[int, Path, str]] = []
    for line, target in page.links():
        if not target.startswith(FOREIGN):
            name, _, anchor = target.partition("#")
            path = (page.path.parent / name).resolve() if name else page.path
            found.append((line, path, anchor))
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_link_of_a_page_resolves(page: Page) -> None:
    """A link leads to a file of this repository, and its anchor to a heading in it."""
    broken: list[str] = []
    for line, path, anchor in local_links(page):
        if not path.is_file() or ROOT not in path.parents:
            broken.append(f"{page.name}:{line} leads to {path}, which is not there")
        elif anchor and (path.suffix != ".md" or anchor not in read(path).anchors()):
            broken.append(f"{page.name}:{line} leads to #{anchor}, which {path.name} does not have")
    assert [] == broken


def test_every_page_can_be_reached_from_the_index() -> None:
    """A reader who starts at docs/README.md can come to each page by links."""
    reached: set[Path] = set()
    waiting = [INDEX]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        waiting.extend(target for _, target, _ in local_links(read(path)))
    assert set() == {page.path for page in pages() if DOCS in page.path.parents} - reached


def test_foreign_links_are_encrypted() -> None:
    """No link leaves by plain http, but to this machine."""
    odd = [
        f"{page.name}:{line} {target}"
        for page in pages()
        for line, target in page.links()
        if target.startswith("http://") and not target.startswith("http://127.0.0.1")
    ]
    assert [] == odd


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    """The reader of links sees what a page links to, and nothing in code."""
    page = tmp_path / "page.md"
    page.write_text("# A b\n[a](x.md) `[b](y.md)` ![c](z.png#d)\n```text\n[e](f.md)\n```\n")
    assert [(2, "x.md"), (2, "z.png#d")] == list(read(page).links())
    assert {"a-b"} == read(page).anchors()
