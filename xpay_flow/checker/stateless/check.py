"""How does a user check flows on a store that can be emptied, and cannot be put back?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import attrs

from xpay_flow.ports import Store

from ..bounds import BEGINNING, EVENTS, HANDLERS, REFUNDED, SUPERSEDED, Scene
from ..own import Own
from ..parked import release_threads
from ..promises import Promises, promises_of, refuse_unknown
from ..properties import View
from ..shop import Shop
from ..targets import Target, shop_of
from ..verdict import ASSUMPTIONS, METHOD_IS_A_STEP, Result
from .searching import StatelessBound, StatelessSearch, StatelessSearched
from .stage import Written, close

# Two workers can only meet over what a webhook has brought.
SMALL = StatelessBound(
    name="small",
    faults=1,
    scenes=(EVENTS, HANDLERS, SUPERSEDED, REFUNDED, BEGINNING),
    more_flows={HANDLERS.name: 3},
)
TAKES_EFFECT_ONCE = "transactional_handlers_take_effect_once"
# In place of the assumptions of a search that remembers.
STATELESS = (
    "what is stuck was not helped by doing all that was left to do, each in its turn",
    "a store that has ended one operation blocks no other",
)


@attrs.frozen(kw_only=True)
class StatelessResult(Result):
    """The verdict of a whole check, with what it took."""

    def as_text(self) -> str:
        """Everything, for a terminal."""
        return "\n".join([super().as_text(), *map(_figures, self.searched)])


def _assumed(bound: StatelessBound) -> tuple[str, ...]:
    apart = bound.depth == "driver"
    return tuple(text for text in ASSUMPTIONS if not (apart and text == METHOD_IS_A_STEP))


def _promises(shop: Shop, scene: Scene, own: Iterable[Own], without: Collection[str]) -> Promises:
    """Also that what handlers within the transaction write is there once, whatever goes wrong."""
    promises = promises_of(scene, own, without)
    if not shop.calls_within or TAKES_EFFECT_ONCE in without:
        return promises

    def twice(view: View) -> str | None:
        keys = (at for name in shop.transactional for at, n in view.called(name).items() if n > 1)
        found = ", ".join(keys)
        return f"took effect twice within the transaction: {found}" if found else None

    moments = {**promises.moment_checks, TAKES_EFFECT_ONCE: twice}
    return attrs.evolve(promises, moment_checks=moments)


def _figures(found: object) -> str:
    assert isinstance(found, StatelessSearched)
    return (
        f"{found.scene:12} {found.executions:9,} executions from an empty store, "
        f"{found.redundant:,} of them for nothing; {found.transitions:,} steps"
    )


def check_stateless(
    target: Target = None,
    open_store: Callable[[], Store] | None = None,
    reset: Callable[[], object] | None = None,
    bound: StatelessBound = SMALL,
    *,
    own: Iterable[Own] = (),
    without: Collection[str] = (),
    written: Written | None = None,
) -> StatelessResult:
    """Run every order of the steps of each scene on the real store, begun from empty each time.

    After a violation the scenes that are left are searched for one with fewer faults only.

    Args:
        target: as for `check`; its own store is not used, unless no other is given.
        open_store: opens the store once more, as another process would; it must be a
            `RecentListing`, too. Each flow has one for itself, closed when it dies, if it can
            be closed.
        reset: empties the store; what was opened before goes on to work. Both may be left out
            where the target's store has `snapshot` and `restore`.
        written: the idempotency keys under which handlers within the store's transaction have
            written, each as often as your tables show it. They are called for real. Without it,
            the store's answer to its commit is believed.

    Raises:
        ConfigurationError: the target names no flow, or `without` no promise.
        HiddenState: code under check depends on more than the answers to its effects.
    """
    shop, theirs = shop_of(target)
    promises = (*theirs, *own)
    refuse_unknown(without, promises)
    if open_store is not None:
        # What stood in for the flow's own store is not used.
        shop = attrs.evolve(shop, replaced=())
    shop = shop.shortened(bound.faults).watched()
    store, empty = shop.store, shop.store.snapshot()
    opened = open_store or (lambda: store)
    if open_store is not None:
        shop = shop.on(probe := open_store())
        close(probe)
    emptied = reset or (lambda: store.restore(empty))
    searched: list[StatelessSearched] = []
    faults = bound.faults
    try:
        for scene in map(shop.fitted, bound.scenes):
            if faults < 0:
                break
            search = StatelessSearch(
                shop,
                scene,
                attrs.evolve(bound, faults=faults),
                opened,
                emptied,
                promises=_promises(shop, scene, promises, without),
                written=written,
            )
            searched.append(found := search.run())
            search.close()
            if found.violation is not None:
                faults = found.violation.faults - 1
    finally:
        release_threads()
        emptied()
    return StatelessResult(
        bound=bound,
        searched=tuple(searched),
        assumptions=(*_assumed(bound), *STATELESS, *shop.replaced),
        without=tuple(sorted(without)),
        hoped_for={
            own.name: own.sentence
            for own in promises
            if own.when == "sometimes" and own.name not in without
        },
    )
