"""Which methods meet? Pairs and triples on small contents, each a scene of its own.

A scene is prepared, and then has two or three lifelines, each of one or two calls. Its answers and
the contents in the end are compared with those of `MemoryStore`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from xpay_flow import sample_records as b
from xpay_flow.money import Money
from xpay_flow.ports import RecentListing, Store
from xpay_flow.records import Change, Record, Work, change, intent_alias, receipt_alias

# Later than anything here is due.
_LATE_MS: Final = 2 * b.NOW_MS
_MANY: Final = 10


@attrs.frozen(kw_only=True)
class Call:
    """One method call: its operation on a store, and its words in a trace.

    Args:
        change: of a commit, the change; a read has none.
        needs_listing: it is made only on a store that can list.
    """

    words: str
    ask: Callable[[Store], Any] = attrs.field(repr=False)
    change: Change | None = attrs.field(default=None, repr=False)
    needs_listing: bool = False


@attrs.frozen(kw_only=True)
class Scene:
    """What is stored before, and who calls what at the same time.

    Args:
        small: it is searched to the full bound; the others in one mode, with one switch and
            without faults.
    """

    name: str
    before: tuple[Change, ...]
    lifelines: tuple[tuple[Call, ...], ...]
    small: bool = True

    @property
    def changes(self) -> tuple[Change, ...]:
        """What the lifelines commit."""
        calls = (call.change for line in self.lifelines for call in line)
        return tuple(step for step in calls if step is not None)

    @property
    def keys(self) -> tuple[str, ...]:
        """The records that the lifelines change."""
        return tuple(sorted({step.record.key for step in self.changes}))

    @property
    def names(self) -> tuple[str, ...]:
        """The names that may come or go, and the keys."""
        stored = {step.record.key: step.record.aliases for step in self.before}
        moved = (
            step.record.aliases ^ stored.get(step.record.key, frozenset()) for step in self.changes
        )
        return tuple(sorted(frozenset(self.keys).union(*moved)))

    def found(self, store: Store) -> tuple[Any, ...]:
        """All of a store that this scene can change, in a form that can be compared."""
        loaded = tuple((name, tuple(store.history(name))) for name in self.names)
        works: tuple[Work, ...] = ("deliver", "reconcile")
        due = tuple((work, tuple(store.due(work, _LATE_MS, _MANY))) for work in works)
        return loaded + due

    def glanced(self, store: Store) -> tuple[Any, ...]:
        """The records alone."""
        return tuple(tuple(store.history(key)) for key in self.keys)

    def prepare(self, store: Store) -> None:
        """Put there what is stored before."""
        for step in self.before:
            if store.commit(step) is not True:
                raise NotPrepared(f"a plain commit of {step.record.key} was refused")

    def of(self, store: Store) -> Scene:
        """The scene without the operations that this store lacks."""
        listing = isinstance(store, RecentListing)
        lines = (
            tuple(call for call in line if listing or not call.needs_listing)
            for line in self.lifelines
        )
        return attrs.evolve(self, lifelines=tuple(line for line in lines if line))


class NotPrepared(Exception):
    """A store refuses the simplest commits, one after the other."""


# --- calls ---------------------------------------------------------------------------------------


def commit(words: str, step: Change) -> Call:
    return Call(words=f"commit({words})", ask=lambda store: store.commit(step), change=step)


def load(words: str, alias: str) -> Call:
    """As a webhook that is decided once more."""
    event = b.paid().identity
    return Call(words=f"load({words})", ask=lambda store: tuple(store.load(alias, event)))


def history(words: str, alias: str) -> Call:
    return Call(words=f"history({words})", ask=lambda store: tuple(store.history(alias)))


def due(work: Work) -> Call:
    return Call(words=f"due({work})", ask=lambda store: tuple(store.due(work, _LATE_MS, _MANY)))


def _recent(store: Store) -> tuple[Record, ...]:
    assert isinstance(store, RecentListing)
    return tuple(store.recent(_MANY))


RECENT: Final = Call(words="recent", ask=_recent, needs_listing=True)


# --- contents ------------------------------------------------------------------------------------

_NEW = b.attempt()
_NEW_TOO = b.attempt(money=Money(5, "EUR"))
_OTHER = b.attempt("order-2", at_ms=b.NOW_MS + 7)
_PAID = b.next_change(_NEW.record, b.paid())
_FAILED = b.next_change(_NEW.record, b.failed(x_intent_id="in_2"))
_REFUNDED = b.next_change(_PAID.record, b.refunded())


def _renamed(step: Change) -> Change:
    """The same event, and one name lost."""
    lost = intent_alias("pi_order-1_1")
    return attrs.evolve(
        step, record=attrs.evolve(step.record, aliases=step.record.aliases - {lost})
    )


def _delivered(record: Record) -> Change:
    """The pending call is done, and nothing else changes."""
    (pending,) = record.outbox
    after = record.with_entry(attrs.evolve(pending, status="done", tries=1))
    return change(record, after)


_RECEIPT = receipt_alias("order-1")
_PAY = commit("v1→v2, paid", _PAID)
_FAIL = commit("v1→v2, failed", _FAILED)
_MAKE = commit("new", _NEW)
_MAKE_TOO = commit("new, other money", _NEW_TOO)
_MAKE_OTHER = commit("new, other order", _OTHER)
_REFUND = commit("v2→v3, refunded", _REFUNDED)
_DELIVER = commit("v2→v3, delivered", _delivered(_PAID.record))
_RENAME = commit("v1→v2, a name more and one less", _renamed(_PAID))
_LOAD = load("receipt", _RECEIPT)
_HISTORY = history("receipt", _RECEIPT)
_LOAD_X = load("x intent", "x:in_1")
_LOAD_OLD = load("intent", intent_alias("pi_order-1_1"))


def _scene(
    name: str, before: Sequence[Change], *lifelines: Sequence[Call], small: bool = True
) -> Scene:
    lines = tuple(map(tuple, lifelines))
    return Scene(name=name, before=tuple(before), lifelines=lines, small=small)


SCENES: Final[tuple[Scene, ...]] = (
    _scene("two makers", (), [_MAKE], [_MAKE_TOO]),
    _scene("two writers", (_NEW,), [_PAY], [_FAIL]),
    _scene("two deciders", (_NEW, _PAID), [_REFUND], [_DELIVER]),
    _scene("a stale writer", (_NEW, _PAID), [_REFUND], [_FAIL]),
    _scene("two orders", (_NEW,), [_PAY], [_MAKE_OTHER]),
    _scene("a writer and a reader", (_NEW,), [_PAY], [_LOAD]),
    _scene("a name comes and one goes", (_NEW,), [_RENAME], [_LOAD_X, _LOAD_OLD]),
    _scene("a maker and a reader", (), [_MAKE], [_LOAD]),
    _scene("a writer and a worker", (_NEW,), [_PAY], [due("deliver")]),
    _scene("a writer and a list", (_NEW,), [_PAY], [due("reconcile"), RECENT]),
    _scene("a reader who looks twice", (_NEW,), [_PAY], [_HISTORY, _LOAD], small=False),
    _scene("each reads what it wrote", (_NEW,), [_PAY, _LOAD], [_FAIL, _LOAD], small=False),
    _scene("two writers and a reader", (_NEW,), [_PAY], [_FAIL], [_LOAD], small=False),
    _scene("two makers and a list", (), [_MAKE], [_MAKE_OTHER], [RECENT], small=False),
)
