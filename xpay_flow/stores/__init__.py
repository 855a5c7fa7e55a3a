"""Which store does a URL mean? The one whose package offers the URL's scheme.

A package offers a store by an entry point in the group `xpay_flow.stores`, whose name is the
scheme and whose value is a class with `from_url(url)`. The two shipped ones need no metadata, so
that a plain source tree works.
"""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

from xpay_flow.errors import ConfigurationError, MissingExtra, quoted
from xpay_flow.ports import AsyncStore, Store

GROUP: Final = "xpay_flow.stores"

_SHIPPED: Final = {
    "memory": EntryPoint("memory", "xpay_flow.stores.memory:MemoryStore", GROUP),
    "sqlite": EntryPoint("sqlite", "xpay_flow.stores.sqlite:SQLiteStore", GROUP),
}


def open_store(url: str) -> Store:
    """The store that `url` names, ready for use.

    Args:
        url: such as `sqlite:///payments.db`; what follows the scheme is the store's own business.

    Raises:
        ConfigurationError: no installed package offers the scheme, or what it offers cannot be
            used. The text names what to do, and quotes only the scheme: a URL may hold a password.
        StoreUnavailable: the store itself did not answer.
    """
    store: Store = offered(url).from_url(url)
    return store


def offered(url: str) -> Any:
    """The class that is offered for the scheme of `url`. Raises ConfigurationError."""
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ConfigurationError("a store is named by a URL, such as sqlite:///payments.db")
    # The shipped ones come last, and so win: no package may quietly take over where money is kept.
    there = {point.name: point for point in entry_points(group=GROUP)} | _SHIPPED
    if scheme not in there:
        raise ConfigurationError(
            f"no installed package offers a store for {quoted(scheme)}; "
            f"there are {', '.join(sorted(there))}. Install one that offers it in the entry "
            f"point group {GROUP}, or make your store yourself and pass it instead of a URL"
        )
    return _loaded(there[scheme])


def blocking_store(store: Store | AsyncStore, url: str = "") -> Store:
    """`store`, for a program that does not await.

    Raises:
        ConfigurationError: it is one that is awaited; the text names a URL that is not.
    """
    if not inspect.iscoroutinefunction(store.commit):
        return cast(Store, store)
    scheme = url.partition("://")[0]
    plain = scheme.partition("+")[0]
    instead = (
        f"open {plain}://… in place of {scheme}://…"
        if plain != scheme
        else ("open it by a URL whose driver blocks, such as postgresql://…")
    )
    raise ConfigurationError(
        f"{type(store).__name__} is awaited: give it to AsyncFlow, or {instead}"
    )


def _loaded(point: EntryPoint) -> Any:
    try:
        kind = point.load()
        if not hasattr(kind, "from_url"):
            raise AttributeError(f"{point.value} has no from_url")
    except MissingExtra as error:
        # The module knows what it needs itself; the scheme knows which driver, too.
        extra = point.extras[0] if point.extras and _is_shipped(point) else error.extra
        raise MissingExtra(point.module, extra) from error
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"the store for {point.name!r} is offered as {point.value} but cannot be used "
            f"({quoted(error)}); try: pip install {_requirement(point)}"
        ) from error
    return kind


def _is_shipped(point: EntryPoint) -> bool:
    return point.dist is None or point.dist.name == "xpay-flow"


def _requirement(point: EntryPoint) -> str:
    """What to install, with the extra that `module:Class [extra]` names."""
    name = point.dist.name if point.dist else "xpay-flow"
    return f"'{name}[{','.join(point.extras)}]'" if point.extras else f"--force-reinstall {name}"
