"""Write the pages of docs/reference that follow from the code.

python -m docs.generate              # all of them; the gallery takes some minutes
python -m docs.generate settings.md  # this one only
python -m docs.generate README.md    # its table of frameworks
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from .generators.api import api_page
from .generators.cli import cli_page
from .generators.errors import errors_page
from .generators.frameworks import README, readme
from .generators.gallery import gallery_page
from .generators.kept import kept_page
from .generators.lifecycle import lifecycle_page, lifecycle_picture
from .generators.schema import schema_page
from .generators.settings import settings_page

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by `make docs`; change the code or docs/generators, not this page. -->\n\n"

PAGES: dict[str, Callable[[], str]] = {
    "api.md": api_page,
    "cli.md": cli_page,
    "errors.md": errors_page,
    "gallery-of-bugs.md": gallery_page,
    "kept-fields.md": kept_page,
    "lifecycle.md": lifecycle_page,
    "lifecycle.svg": lifecycle_picture,
    "settings.md": settings_page,
    "store-schema.md": schema_page,
}


@cache
def written(name: str) -> str:
    """What should be in one of `PAGES`."""
    return (NOTE if name.endswith(".md") else "") + PAGES[name]()


def main() -> None:
    REFERENCE.mkdir(exist_ok=True)
    for name in sys.argv[1:] or (*PAGES, README.name):
        if name == README.name:
            README.write_text(readme())
        else:
            (REFERENCE / name).write_text(written(name))


if __name__ == "__main__":
    main()
