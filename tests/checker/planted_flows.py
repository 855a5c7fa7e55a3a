"""The planted bugs that tests of the checker itself look at; the whole catalogue is `mutants`."""

from __future__ import annotations

from .mutants import CATALOGUE
from .mutants import Mutant as Planted
from .mutants import shop as shop

NAMES = (
    "newest wins",
    "forgets effects",
    "finds no work",
    "losers win",
    "snapshots only",
    "swallows",
    "2xx first",
    "return page writes",
    "chokes on types",
    "effect before commit",
    "one event",
    "no claim",
    "deletes first",
    "gives up soon",
    "any end",
    "new key",
    "never asks",
    "failed is final",
    "late failed wins",
    "believes anybody",
    "money not compared",
    "drops strangers",
)
_NAMED = {mutant.name: mutant for mutant in CATALOGUE}
PLANTED: tuple[Planted, ...] = tuple(_NAMED[name] for name in NAMES)
