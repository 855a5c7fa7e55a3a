"""Which store does a target name, and how can it be emptied without harm?

* `sqlite:///shop.db`, `memory://`: the shipped stores. The SQLite store is checked in a new file in
  a folder of its own; the file that is named is not touched.
* `postgresql://…`, or the URL of any class that has `for_check`: the store is checked in tables of
  its own; what the database holds is not touched. `for_check(url)` is a context manager, and what
  it gives has `make()` and `reset()`.
* `shop.db:PgStore`: a class that is made without arguments, or a function that makes a store. If
  its data outlive it, it must offer `reset`, which empties them: on the function, on the class or
  on the store. Nothing is emptied that holds records already.
* `shop.db:FileStore`: a class that is made with a path, or with `from_url("sqlite:///…")`. It is
  given a path in a folder of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from xpay_flow.errors import ConfigurationError
from xpay_flow.import_target import named
from xpay_flow.ports import RecentListing, Store
from xpay_flow.stores import offered, open_store
from xpay_flow.stores.sqlite import SQLiteStore

from .awaited import Awaited, is_awaited, leave
from .files import Place, a_place
from .lookup import Table
from .search import DEFAULT, check_store
from .verdict import ContractBound, ContractResult


def contract_of(target: str, *, bound: ContractBound = DEFAULT) -> ContractResult:
    """Check the store that `target` names: `module:Store`, `module:make_store` or a store's URL.

    Raises:
        ConfigurationError: it names no store, or one that cannot be emptied safely.
    """
    scheme, is_url, _ = target.partition("://")
    if is_url and scheme == "sqlite":
        return _in_a_place(SQLiteStore, bound)
    if is_url:
        for_check = getattr(offered(target), "for_check", None)
        if for_check is None:
            return _checked(lambda: open_store(target), None, bound)
        with for_check(target) as its:
            return check_store(its.make, reset=its.reset, bound=bound)
    found, _ = named(target, "MODULE:STORE, such as shop.db:PgStore, or a store's URL")
    if not callable(found):
        raise ConfigurationError(f"{target} is no class and no function that makes a store")
    if _needs_arguments(found):
        return _in_a_place(found, bound)
    return _checked(found, getattr(found, "reset", None), bound)


def _in_a_place(kind: Callable[..., Any], bound: ContractBound) -> ContractResult:
    """In a file of its own."""
    with a_place() as place:
        return check_store(_maker(kind, place), reset=place.reset, keep=place.keep, bound=bound)


def _maker(kind: Any, place: Place) -> Callable[[], Store]:
    from_url = getattr(kind, "from_url", None)
    if from_url is not None:
        return lambda: from_url(f"sqlite:///{place.file}")
    return lambda: kind(place.file)


def _checked(
    make: Callable[[], Any], reset: Callable[[], None] | None, bound: ContractBound
) -> ContractResult:
    probe = make()
    own = getattr(probe, "reset", None)
    if is_awaited(probe):
        probe = Awaited(make, Table())
    try:
        _refuse_full(probe)
    finally:
        leave(probe)
    # A method of a class that was not made yet needs an object.
    if own is not None:
        reset = own
    return check_store(make, reset=reset, bound=bound)


def _refuse_full(store: object) -> None:
    """What holds records may be a shop's, and the check empties it."""
    if isinstance(store, RecentListing) and store.recent(1):
        raise ConfigurationError(
            "the store holds records, and the check would empty it: name an empty database"
        )


def _needs_arguments(kind: Callable[..., Any]) -> bool:
    try:
        inspect.signature(kind).bind()
    except TypeError:
        return True
    return False
