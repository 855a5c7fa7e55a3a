"""What is watched while the user's code runs? Hidden inputs, and which of its lines run."""

from __future__ import annotations

from types import TracebackType

from .coverage import Coverage, Watch
from .guard import Guard, guarded


class Oversight:
    """Entered around each piece of the user's code; cheap, since that happens often."""

    __slots__ = ("_guard", "_watch")

    def __init__(self, allows: frozenset[str], coverage: Coverage) -> None:
        self._guard: Guard = guarded(allows)
        self._watch: Watch = coverage.watch()

    def __enter__(self) -> None:
        self._watch.__enter__()
        self._guard.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._guard.__exit__(kind, error, trace)
        finally:
            self._watch.__exit__(kind, error, trace)
