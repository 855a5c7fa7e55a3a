"""Which mistakes do shops make? Each one planted, and found by the checker.

`python -m tests.checker.mutants` looks for all of them and prints what was found.
"""

from __future__ import annotations

from .clicks import CLICKS
from .deciders import DECIDERS
from .handwritten import HANDWRITTEN
from .hidden import HIDDEN
from .mutant import REFUSED as REFUSED
from .mutant import Mutant as Mutant
from .mutant import shop as shop
from .reconcilers import RECONCILERS
from .stores import STORES
from .webhooks import WEBHOOKS
from .workers import WORKERS

THEMES: dict[str, tuple[Mutant, ...]] = {
    "A store": STORES,
    "A webhook": WEBHOOKS,
    "A decision": DECIDERS,
    "A worker": WORKERS,
    "The way to the page": CLICKS,
    "A question to xPay": RECONCILERS,
    "A shop written by hand": HANDWRITTEN,
    "What the checker refuses": HIDDEN,
}
CATALOGUE: tuple[Mutant, ...] = tuple(bug for bugs in THEMES.values() for bug in bugs)
