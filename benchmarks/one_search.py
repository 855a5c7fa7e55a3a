"""What does one check of the shipped flow take? Alone in a process, so that its memory is seen.

python -m benchmarks.one_search FAULTS
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from time import perf_counter

import attrs

from xpay_flow.checker import check
from xpay_flow.checker.bounds import DEEP, DEFAULT

from .calling import Refused


def main(faults: int) -> None:
    """Search all scenes with any so many faults, and print what that took."""
    bound = DEEP if faults == DEEP.faults else attrs.evolve(DEFAULT, faults=faults)
    before = _peak_mb()
    began = perf_counter()
    result = check(bound=bound)
    seconds = perf_counter() - began
    if result.verdict != "EXHAUSTED":
        raise Refused(result.as_text())
    counted = ("states", "transitions", "resumptions", "store_calls")
    figures = {name: sum(getattr(s, name) for s in result.searched) for name in counted}
    print(json.dumps({**figures, "seconds": seconds, "peak_mb": _peak_mb() - before}))


def _peak_mb() -> float:
    """The most memory that this process ever had."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux the value of `resource` may be the parent's.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024)


if __name__ == "__main__":
    main(int(sys.argv[1]))
