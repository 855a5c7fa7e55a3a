"""Write the pages of docs/reference that follow from the code.

python -m docs.generate
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .generators.api import api_page
from .generators.cli import cli_page
from .generators.errors import errors_page
from .generators.gallery import gallery_page
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
    "lifecycle.md": lifecycle_page,
    "lifecycle.svg": lifecycle_picture,
    "settings.md": settings_page,
    "store-schema.md": schema_page,
}


def written() -> dict[Path, str]:
    """Every generated file and what should be in it."""
    return {
        REFERENCE / name: (NOTE if name.endswith(".md") else "") + page()
        for name, page in PAGES.items()
    }


def main() -> None:
    REFERENCE.mkdir(exist_ok=True)
    for path, text in written().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
