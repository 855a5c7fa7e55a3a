"""Where does a store in one file live while it is checked? In a folder of its own, soon gone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

# A file system in memory, where there is one: thousands of commits, each flushed to the disk.
_IN_MEMORY: Final = Path("/dev/shm")


@attrs.frozen
class Place:
    """A folder for a store, with `reset` and `keep` for `check_store`."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "contract.db"

    def reset(self) -> None:
        """Remove everything."""
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def keep(self) -> Callable[[], None]:
        """Copy everything; what is returned brings it back."""
        kept = {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}

        def back() -> None:
            self.reset()
            for name, content in kept.items():
                (self.folder / name).write_bytes(content)

        return back


@contextmanager
def a_place() -> Generator[Place, None, None]:
    """A new folder, in memory if possible, that is removed at the end."""
    where = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="xpay-flow-", dir=where) as folder:
        yield Place(Path(folder))
