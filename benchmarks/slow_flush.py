"""How fast is a program on a disk whose flushes take longer? Needs Linux and a C compiler.

SQLite has no setting for that, so a small library stands between a process and the system's own
`fsync`. Unlike a disk it makes no other process wait, and so it favours frequent flushes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_suffix(".c")
NEEDS: Final = "slower flushes are measured on Linux, with a C compiler"


def environment(folder: Path, longer_ms: int) -> Mapping[str, str] | None:
    """The variables with which a process finds its flushes so much longer; none for 0.

    Args:
        folder: where the library is made.

    Returns:
        None where it cannot be made: elsewhere than on Linux, or without a C compiler.
    """
    if not longer_ms:
        return {}
    compiler = shutil.which("cc") or shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        return None
    library = folder / "slow_flush.so"
    if not library.exists():
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"]
        subprocess.run(command, check=True, timeout=120)
    return {"LD_PRELOAD": str(library), "FLUSH_LONGER_US": str(1000 * longer_ms)}
