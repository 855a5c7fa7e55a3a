"""The README's table of frameworks, from what the tests run."""

from __future__ import annotations

from typing import Final

from ..frameworks import FRAMEWORKS, ROOT, Framework, versions
from .markdown import table

README: Final = ROOT / "README.md"
BEGINS: Final = "<!-- frameworks: written by `make docs` from docs/frameworks.py -->\n"
ENDS: Final = "\n<!-- end of frameworks -->"
HEAD: Final = (
    "Framework",
    "Takes",
    "Lowest and newest version tested",
    "Every duty, over sockets behind",
    "An example shop takes a payment behind",
)


def readme() -> str:
    """The README as it should be."""
    before, _, rest = README.read_text().partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    return f"{before}{BEGINS}{table(HEAD, map(_row, FRAMEWORKS))}{ENDS}{after}"


def _row(framework: Framework) -> tuple[str, ...]:
    lowest = versions(framework.distribution, "lowest.txt") if framework.distribution else ()
    newest = versions(framework.distribution, "dev.txt") if framework.distribution else ()
    return (
        framework.name,
        framework.flows,
        " to ".join(filter(None, (", ".join(lowest), ", ".join(newest)))) or "–",
        ", ".join(framework.suite_behind),
        _shop(framework),
    )


def _shop(framework: Framework) -> str:
    if not framework.shop:
        return "–"
    path = framework.shop if "." in framework.shop else f"examples/{framework.shop}.py"
    servers = ", ".join(framework.commands)
    return servers if path == README.name else f"[{servers}]({path})"
