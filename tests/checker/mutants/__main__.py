"""`python -m tests.checker.mutants`: every planted bug, looked for."""

from __future__ import annotations

import sys

from . import CATALOGUE
from .figures import lines

if __name__ == "__main__":
    if "--hypothesis" in sys.argv[1:]:
        from .played import lines as played

        for line in played(CATALOGUE):
            print(line, flush=True)
    else:
        for line in lines(CATALOGUE):
            print(line, flush=True)
