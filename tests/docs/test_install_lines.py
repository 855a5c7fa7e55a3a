"""A page's install line is enough for all that is on the page."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from installed import Environments, plain_environment

from . import alone
from .pages import ROOT, Page, installed_for, pages

LIMIT_S = 600.0
# Pages that are looked up or thought about need what the README names.
OWN_LINE = [
    page
    for page in pages()
    if page.path.parent.name in ("tutorial", "how-to")
    if page.blocks_in("python") or [*alone.commands(page)]
]
FOLLOWED = [page for page in pages() if page.blocks_in("python") or [*alone.commands(page)]]


def follow(page: Path, python: Path) -> subprocess.CompletedProcess[str]:
    """Run a page with what this Python has. Only the harness is put on its path, at the end."""
    harness = "import sys; from pathlib import Path; sys.path.append(sys.argv[1])\n"
    run = "from docs.alone import main; main(Path(sys.argv[2]))"
    return subprocess.run(
        [python, "-W", "error", "-c", harness + run, ROOT / "tests", page],
        env=plain_environment(),
        cwd=python.parent,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.name)
def test_a_page_works_with_what_its_install_line_names(
    page: Page, environments: Environments
) -> None:
    """Its blocks run and its commands find their packages where nothing else is installed."""
    done = follow(page.path, environments.python_with(installed_for(page)))
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("page", OWN_LINE, ids=lambda page: page.name)
def test_a_page_to_follow_brings_the_command_line(page: Page) -> None:
    """Each tutorial and how-to has an install line, and it names the extra `cli`."""
    assert page.install is not None
    (ours,) = (word for word in page.install if word.startswith("xpay-flow["))
    assert "cli" in ours.partition("[")[2].strip("]").split(",")


@pytest.mark.parametrize(
    ("installed", "block", "lacks"),
    [
        ("xpay-flow[cli]", "```python\nimport xpay_flow_fastapi\n```\n", "xpay-flow[fastapi]"),
        (
            "xpay-flow[cli]",
            "```sh\nxpay-flow check --store postgresql://shop@127.0.0.1:1/shop\n```\n",
            "xpay-flow[postgresql]",
        ),
    ],
)
def test_an_install_line_that_is_too_short_is_noticed(
    installed: str, block: str, lacks: str, tmp_path: Path, environments: Environments
) -> None:
    """A page that names too few extras fails, and the error names the extra that is missing."""
    page = tmp_path / "page.md"
    page.write_text(block)
    done = follow(page, environments.python_with((installed,)))
    assert 0 != done.returncode
    assert lacks in done.stderr


def test_without_the_extra_the_command_line_names_it(environments: Environments) -> None:
    """`xpay-flow` where only the library is installed says which extra brings it."""
    python = environments.python_with(("xpay-flow",))
    done = subprocess.run(
        [python, "-m", "xpay_flow.cli", "check"],
        env=plain_environment(),
        cwd=python.parent,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert 1 == done.returncode
    assert "pip install 'xpay-flow[cli]'" in done.stderr
