"""How does a user run the checker? By one line in a test, or one command."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial

import attrs

from .bounds import BOUNDS, DEFAULT, Bound, Scene
from .cross_check import FAULTS_MAX, PAIR, SECONDS_MAX, Compared, CrossChecked, small
from .engine import Count
from .explore import Search, uncollected
from .live import confirm
from .own import Own
from .parked import release_threads
from .processes import in_processes
from .promises import Promises, promises_of, refuse_unknown
from .reductions import Reductions
from .shop import Shop
from .slicing import sliced
from .targets import Target, shop_of
from .verdict import ASSUMPTIONS, Progress, Result, Searched

Watch = Callable[[Progress], None]


def check(
    target: Target = None,
    bound: Bound = DEFAULT,
    *,
    own: Iterable[Own] = (),
    without: Collection[str] = (),
    progress: Watch | None = None,
    jobs: int = 1,
) -> Result:
    """Search every scene of the bound.

    After a violation the scenes that are left are searched for one with fewer faults only. Handlers
    are called for real: once for each different payment, and again when a trace is replayed.

    Args:
        target: `module:flow`, or a function that makes one; a flow; a shop; or nothing, which is
            the shipped flow on the store in memory.
        own: promises of your own, besides those in the target's module; see `own`.
        without: names of promises to leave out.
        progress: receives the progress now and then.
        jobs: how many processes search, a scene each at a time.

    Raises:
        ConfigurationError: the target names no flow, or `without` no promise.
        HiddenState: code under check depends on more than the answers to its effects.
    """
    if bound.deepens:
        return _deepened(target, bound, own, without, progress, jobs)
    shop, theirs = shop_of(target)
    promises = (*theirs, *own)
    refuse_unknown(without, promises)
    checking = Checking(shop.shortened(bound.faults).watched(), promises, frozenset(without))
    try:
        with uncollected():
            searched = tuple(checking.scenes(bound, progress, jobs))
    finally:
        release_threads()
        checking.give_back()
    return Result(
        bound=bound,
        searched=searched,
        assumptions=(*ASSUMPTIONS, *checking.shop.replaced),
        never_run=checking.shop.coverage.never_run() if jobs == 1 else (),
        without=tuple(sorted(without)),
        hoped_for={promise.name: promise.sentence for promise in _hopes(promises, without)},
    )


def cross_check(
    target: Target = None,
    bound: Bound = DEFAULT,
    *,
    own: Iterable[Own] = (),
    without: Collection[str] = (),
    seconds: float = SECONDS_MAX,
) -> CrossChecked:
    """Search the scenes of a bound with no fault, and with one, with and without reductions.

    Args:
        target, own, without: as for `check`.
        seconds: end after so many.

    Raises:
        HiddenState: as in `check`.
    """
    shop, theirs = shop_of(target)
    faults = min(bound.faults, FAULTS_MAX)
    checking = Checking(shop.shortened(faults).watched(), (*theirs, *own), frozenset(without))
    try:
        with uncollected():
            return CrossChecked(compared=tuple(checking.compared(bound, seconds)))
    finally:
        release_threads()
        checking.give_back()


def _deepened(
    target: Target,
    bound: Bound,
    own: Iterable[Own],
    without: Collection[str],
    progress: Watch | None,
    jobs: int,
) -> Result:
    """With one fault more each time, until something is wrong or the time is over."""
    own, ends = tuple(own), time.monotonic() + (bound.seconds_max or 0)
    done: Result | None = None
    for faults in range(bound.faults + 1):
        left = max(ends - time.monotonic(), 0.0)
        step = attrs.evolve(bound, faults=faults, seconds_max=left, deepens=False)
        result = check(target, step, own=own, without=without, progress=progress, jobs=jobs)
        if result.verdict == "UNFINISHED" and done is not None:
            return attrs.evolve(result, exhausted_before=done.exhausted_faults)
        if result.verdict != "EXHAUSTED":
            return result
        done = result
    assert done is not None
    return done


def _hopes(promises: Iterable[Own], without: Collection[str]) -> list[Own]:
    return [own for own in promises if own.when == "sometimes" and own.name not in without]


@attrs.define
class Checking:
    """One check, scene after scene."""

    shop: Shop
    own: tuple[Own, ...]
    without: frozenset[str]
    empty: object = None

    def __attrs_post_init__(self) -> None:
        self.empty = self.shop.store.snapshot()

    def scenes(self, bound: Bound, progress: Watch | None, jobs: int) -> Iterator[Searched]:
        """What each scene shows."""
        if jobs > 1:
            tasks = [partial(self.scene, scene, bound, None) for scene in bound.scenes]
            for found in in_processes(tasks, jobs):
                yield self._searched_here(found, bound)
            return
        faults, ends = bound.faults, time.monotonic() + (bound.seconds_max or 0)
        for scene in bound.scenes:
            if faults < 0:
                break
            left = None if bound.seconds_max is None else max(ends - time.monotonic(), 0.0)
            within = attrs.evolve(bound, faults=faults, seconds_max=left)
            found = self.scene(scene, within, progress)
            if found.violation is not None:
                faults = found.violation.faults - 1
            yield found

    def compared(self, bound: Bound, seconds: float = SECONDS_MAX) -> Iterator[Compared]:
        """Every scene with no fault, and then with one, with all reductions and with none."""
        ends = time.monotonic() + seconds
        for faults in range(min(bound.faults, FAULTS_MAX) + 1):
            for scene in map(self.shop.fitted, bound.scenes):
                left = max(ends - time.monotonic(), 0.0) / 2
                within = small(bound, faults, left)
                found = [self.searched(scene, within, reductions) for reductions in PAIR]
                broken = [f.violation.faults if f.violation else None for f in found]
                yield Compared(
                    scene=scene.name,
                    faults=faults,
                    verdict=found[0].verdict,
                    plain=found[1].verdict,
                    faults_found=(broken[0], broken[1]),
                )

    def searched(self, scene: Scene, bound: Bound, reductions: Reductions) -> Searched:
        """What a search of a scene shows, as it is found."""
        self.give_back()
        promises = self.promises(scene)
        search = Search(self.shop, scene, bound, reductions=reductions, promises=promises)
        found = search.run()
        search.forget()
        return found

    def scene(self, scene: Scene, bound: Bound, progress: Watch | None) -> Searched:
        """What one scene shows; a broken promise with its trace as live code shows it."""
        scene = self.shop.fitted(scene)
        promises = self.promises(scene)
        self.give_back()
        watch = None if progress is None else _watch(scene, progress)
        search = Search(self.shop, scene, bound, promises=promises, watch=watch)
        found = search.run()
        search.forget()
        if found.violation is not None:
            at = (self.shop, scene, self.empty, promises)
            violation = sliced(confirm(found.violation, *at), *at)
            if violation.promise in promises.goals:
                # The way to the dead end may be shorter than to the call that makes it one.
                sentence = "; ".join([violation.sentence, *self.shop.troubles.values()])
                violation = attrs.evolve(violation, sentence=sentence)
            found = attrs.evolve(found, violation=violation)
        self.give_back()
        return found

    def give_back(self) -> None:
        """The store is as it was before the check; whatever ends a check, this comes last."""
        self.shop.put_back(self.empty)

    def _searched_here(self, found: Searched, bound: Bound) -> Searched:
        """The scene searched here, if it was searched elsewhere and there is a story to show."""
        if found.violation is None:
            return found
        scene = next(scene for scene in bound.scenes if scene.name == found.scene)
        faults = found.violation.faults
        again = self.scene(scene, attrs.evolve(bound, faults=faults), None)
        return attrs.evolve(found, violation=again.violation)

    def promises(self, scene: Scene) -> Promises:
        return promises_of(scene, self.own, self.without)


def _watch(scene: Scene, progress: Watch) -> Callable[[Count], None]:
    def show(count: Count) -> None:
        progress(Progress(scene=scene.name, **attrs.asdict(count)))

    return show


def verify(target: str, bound: str = DEFAULT.name) -> Callable[[], None]:
    """A test: `test_payments = verify("shop.payments:build")`. It fails with the story.

    A search that was not exhausted fails, too: it has proven nothing.
    """

    def test() -> None:
        result = check(target, BOUNDS[bound])
        assert result.verdict == "EXHAUSTED", result.as_text()

    test.__doc__ = f"{target} keeps the promises within the bound {bound}."
    return test
