"""The generated pages are those that the code would write now."""

from __future__ import annotations

from pathlib import Path

import pytest

from xpay_flow import LIFECYCLE

from .pages import ROOT, docs_module

frameworks = docs_module("generators.frameworks")
generate = docs_module("generate")
lifecycle = docs_module("generators.lifecycle")
markdown = docs_module("generators.markdown")
schema = docs_module("generators.schema")


@pytest.mark.timeout(1200)  # The gallery searches for each planted bug, also on a busy machine.
@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_current(name: str) -> None:
    """What stands in docs/reference is what `make docs` writes."""
    path: Path = generate.REFERENCE / name
    assert generate.written(name) == path.read_text(), f"{path.relative_to(ROOT)}: run make docs"


def test_the_table_of_frameworks_is_current() -> None:
    """The README shows what the tests run, in the versions that are locked."""
    path: Path = frameworks.README
    assert frameworks.readme() == path.read_text(), "README.md: run make docs"


def test_only_the_glossary_of_the_reference_is_written_by_hand() -> None:
    """Each page in docs/reference is generated, except the glossary."""
    by_hand = {generate.REFERENCE / "glossary.md"}
    pages = {generate.REFERENCE / name for name in generate.PAGES}
    assert pages == set(generate.REFERENCE.iterdir()) - by_hand


def test_every_state_and_every_event_is_explained() -> None:
    """The lifecycle's page has a sentence for each state and each row, and for nothing else."""
    assert set(LIFECYCLE.states) == set(lifecycle.STATES)
    assert set(LIFECYCLE.events) == set(lifecycle.EVENTS)


def test_no_column_is_explained_that_is_not_there() -> None:
    """The schema's page explains each column, and nothing that has gone."""
    page = schema.schema_page()
    assert [] == [column for column in schema.COLUMNS if f"| `{column}` |" not in page]


def test_docstrings_become_markdown() -> None:
    """Paragraphs are joined, sections become lists, and cells cannot break a table."""

    def documented() -> None:
        """It does this, and
        that. Then more.

        Args:
            one, two: what they
                mean.
        """

    expected = "It does this, and that. Then more.\n\n*Args*\n\n- `one`, `two`: what they mean."
    assert expected == markdown.docstring(documented)
    assert "It does this, and that." == markdown.first_sentence(documented)
    assert "| a |\n| --- |\n| b\\|c d |" == markdown.table(["a"], [["b|c\nd"]])
