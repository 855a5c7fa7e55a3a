"""Which shops are right, each in its own way? None of them may raise an alarm."""

from __future__ import annotations

from .ours import OURS
from .theirs import THEIRS
from .variant import Variant as Variant

VARIANTS: tuple[Variant, ...] = (*OURS, *THEIRS)
