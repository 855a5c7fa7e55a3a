"""How is everything that is due done, when some of it cannot be?

Record after record, longest due first. One that fails does not stop the others, however often it
fails: it is reported apart, stays due, and the pass reaches as far as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

from ..effects import Command, count, due, now
from ..errors import StoreUnavailable, error_text
from ..records import Work

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class FailedJob:
    """A record that could not be worked on; it stays due, and an operator should look.

    Args:
        error: what was raised, on one line.
    """

    key: str
    work: Work
    error: str


def never() -> bool:
    """Never stops early."""
    return False


def work_through(
    work: Work,
    do: Callable[[str], Command[Sequence[T]]],
    limit: int,
    *,
    stopping: Callable[[], bool] = never,
) -> Command[tuple[T | FailedJob, ...]]:
    """Do one kind of work on up to `limit` records that are due, and on more for each that fails.

    Raises:
        StoreUnavailable: the store itself failed; what is due stays due.
    """
    results: list[T | FailedJob] = []
    seen: set[str] = set()
    failed = 0
    while True:
        keys = yield from due(work, (yield from now()), limit + failed)
        fresh = [key for key in keys if key not in seen][: limit + failed - len(seen)]
        before = failed
        for key in fresh:
            if stopping():
                return tuple(results)
            seen.add(key)
            done = yield from work_on(work, (key,), do)
            failed += any(isinstance(result, FailedJob) for result in done)
            results.extend(done)
        if failed == before:
            return tuple(results)


def work_on(
    work: Work,
    keys: Sequence[str],
    do: Callable[[str], Command[Sequence[T]]],
    *,
    stopping: Callable[[], bool] = never,
) -> Command[tuple[T | FailedJob, ...]]:
    """Do one kind of work on these records; one that fails is reported apart.

    Raises:
        StoreUnavailable: the store itself failed; what is due stays due.
    """
    results: list[T | FailedJob] = []
    for key in keys:
        if stopping():
            break
        try:
            results.extend((yield from do(key)))
        except StoreUnavailable:
            raise
        except Exception as error:
            results.append(FailedJob(key=key, work=work, error=error_text(error)))
            yield from count(f"{work}.failed_job")
    return tuple(results)
