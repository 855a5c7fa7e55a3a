"""What is there after `pip install 'xpay-flow[…]'`? Our wheel, and what its metadata asks for.

No index is needed: the packages are linked from where the tests run, at the versions that are
locked. Whatever else is installed there cannot be imported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[1]
BUILDS_S: Final = 120


class Environments:
    """Pythons that have what a line of requirements brings, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: dict[tuple[str, ...], Path] = {}

    def python_with(self, requirements: tuple[str, ...]) -> Path:
        """The interpreter after `pip install` with these words."""
        if requirements not in self._made:
            self._made[requirements] = self._make(requirements)
        return self._made[requirements]

    def _make(self, requirements: tuple[str, ...]) -> Path:
        home = self.folder / str(len(self._made))
        venv.create(home, symlinks=True)
        (site,) = home.glob("lib/python*/site-packages")
        shutil.unpack_archive(_wheel(self.folder), site, "zip")
        for found in closure(requirements):
            if canonicalize_name(found.name) != "xpay-flow":
                _link(found, site)
        return home / "bin" / "python"


def closure(requirements: tuple[str, ...]) -> Iterator[Distribution]:
    """Each distribution that pip would install, once."""
    waiting = [Requirement(text) for text in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    yielded: set[str] = set()
    while waiting:
        need = waiting.pop()
        name, extras = canonicalize_name(need.name), frozenset(need.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found = distribution(name)
        offered = {canonicalize_name(e) for e in found.metadata.get_all("Provides-Extra") or ()}
        assert {canonicalize_name(extra) for extra in extras} <= offered, f"no such extra: {need}"
        waiting += [r for text in found.requires or () if _applies(r := Requirement(text), extras)]
        if name not in yielded:
            yielded.add(name)
            yield found


def _applies(need: Requirement, extras: frozenset[str]) -> bool:
    marker = need.marker
    return marker is None or any(marker.evaluate({"extra": e}) for e in (extras or {""}))


def _link(found: Distribution, site: Path) -> None:
    """Have its files in `site`, too; its scripts stay where they are."""
    for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
        (site / top).symlink_to(Path(str(found.locate_file(top))).resolve())


def _wheel(folder: Path) -> Path:
    into = folder / "dist"
    if not into.exists():
        _build(into)
    (wheel,) = into.glob("*.whl")
    return wheel


def _build(into: Path) -> None:
    words = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(into), str(ROOT)]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=BUILDS_S, cwd=into.parent
    )
    assert 0 == done.returncode, done.stdout + done.stderr


def plain_environment(**more: str) -> dict[str, str]:
    """Variables for such a Python: neither the checkout nor these tests' settings reach into it."""
    ours = ("PYTHON", "PYTEST", "XPAY_", "DJANGO_")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | more
