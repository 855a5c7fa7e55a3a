"""The page about a shop's own tests can be followed, word for word, from an empty folder."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest
from installed import Environments, plain_environment

from .pages import DOCS, Block, read

PAGE: Final = read(DOCS / "how-to" / "test-your-shop.md")
DJANGO: Final = read(DOCS / "how-to" / "use-django.md")
ENDS_S: Final = 120


def block(title: str) -> Block:
    (found,) = (each for each in PAGE.blocks if each.title == title)
    return found


def ran(python: Path, folder: Path, *words: str) -> str:
    done = subprocess.run(
        [python, *words],
        cwd=folder,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=ENDS_S,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("framework", "shop"), [("fastapi", "shop.py"), ("flask", "flask/shop.py")]
)
def test_a_shop_is_tested_as_the_page_shows(
    framework: str, shop: str, tmp_path: Path, environments: Environments
) -> None:
    """The shop, one line of settings and the tests of the page are all that there is: no variable,
    no network, no further package."""
    python = environments.python_with(("xpay-flow[cli,testing]", framework))
    (tmp_path / "shop.py").write_text(block(shop).text)
    for name in ("pytest.ini", "test_shop.py", "test_order.py", "test_machine.py"):
        (tmp_path / name).write_text(block(name).text)
    output = ran(python, tmp_path, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert "5 passed" in output


def test_a_django_project_is_tested_as_the_page_shows(
    tmp_path: Path, environments: Environments
) -> None:
    """The project of the page about Django runs the page's `TestCase`, with Django's own runner."""
    python = environments.python_with(("xpay-flow[cli,django]",))
    folder = tmp_path
    for each in DJANGO.blocks:
        if each.text.startswith("python manage.py migrate") or "xpay_doctor" in each.text:
            break
        if each.title is not None:
            path = folder / each.title
            path.write_text((path.read_text() if "append" in each.words else "") + each.text)
        elif each.language == "sh":
            for line in each.text.splitlines():
                program, *words = line.split()
                if program == "cd":
                    folder = folder / words[0]
                elif program == "python":
                    ran(python, folder, *words)
    (folder / "orders" / "tests.py").write_text(block("orders/tests.py").text)
    ran(python, folder, "manage.py", "makemigrations", "orders")
    assert "Ran 1 test" in ran(python, folder, "manage.py", "test")
