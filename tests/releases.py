"""What would a later release of an adapter be? A copy of today's in which a few words are others.

It runs in processes of its own, beside those of today's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

ADAPTERS: Final = Path(__file__).parents[1] / "adapters"
ENDS_S: Final = 60


@attrs.frozen
class Release:
    """A folder that holds the later release of one package, and comes before today's."""

    folder: Path

    def run(self, *words: str, **environment: str) -> tuple[int, str]:
        """`python …` of this release: the exit code, and what it said."""
        path = os.pathsep.join([str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(
            [sys.executable, *words],
            env={**os.environ, **environment, "PYTHONPATH": path},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=ENDS_S,
        )
        return done.returncode, done.stdout + done.stderr


def release(
    folder: Path,
    package: str,
    changes: Mapping[str, tuple[str, str]],
    additions: Mapping[str, str],
) -> Release:
    """Today's `package` in a new folder, with other words and more files.

    Args:
        changes: for each file, what stands in it once and what stands there instead.
        additions: for each new file, its text.
    """
    copy = folder / package
    shutil.copytree(ADAPTERS / package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (before, after) in changes.items():
        text = (copy / name).read_text(encoding="utf-8")
        assert 1 == text.count(before), f"{before!r} does not stand once in {name}"
        (copy / name).write_text(text.replace(before, after), encoding="utf-8")
    for name, text in additions.items():
        (copy / name).write_text(text, encoding="utf-8")
    return Release(folder)
