"""Which ports does a flow get? Those that the shop names, and defaults for the others."""

from __future__ import annotations

from .drive import EFFECTS, AsyncPorts, Ports, Shared
from .ports import AsyncClock, AsyncStore, AsyncTransport, Clock, Ids, Store, Transport
from .rate_limit import RateLimiter
from .settings import Settings
from .stores.awaited import awaited_store
from .stores.coalescing import coalesced_effects
from .system import AsyncSystemClock, RandomIds, SystemClock
from .waiting import Waiting


def blocking_ports(
    store: Store,
    settings: Settings,
    *,
    transport: Transport | None,
    clock: Clock | None,
    ids: Ids | None,
) -> Ports:
    """The ports of a `Flow`."""
    return Ports(
        store=store,
        transport=transport or _httpx_transport(settings),
        clock=clock or SystemClock(),
        shared=_shared(settings, ids, threads=True),
        realms=settings.realms,
    )


def awaited_ports(
    store: AsyncStore | Store,
    settings: Settings,
    *,
    transport: AsyncTransport | None,
    clock: AsyncClock | None,
    ids: Ids | None,
    group_commit: bool | None,
) -> AsyncPorts:
    """The ports of an `AsyncFlow`. A store that blocks is called in threads.

    Raises:
        ConfigurationError: some methods of the store are awaited and some are not, or it cannot
            commit many changes at once.
    """
    awaited = awaited_store(store)
    return AsyncPorts(
        store=awaited,
        transport=transport or _async_httpx_transport(settings),
        clock=clock or AsyncSystemClock(),
        shared=_shared(settings, ids),
        realms=settings.realms,
        table={**EFFECTS, **coalesced_effects(store, awaited, group_commit)},
        group_commit=group_commit is not False,
    )


def _shared(settings: Settings, ids: Ids | None, *, threads: bool = False) -> Shared:
    at_most = settings.status_waiting_max
    if threads:
        at_most = min(at_most, settings.status_waiting_threads_max)
    return Shared(
        ids=ids or RandomIds(),
        rate_limiter=RateLimiter(settings.requests_per_minute),
        waiting=Waiting(at_most),
    )


def _httpx_transport(settings: Settings) -> Transport:
    # Imported here: httpx takes longer to import than all the rest together.
    from .httpx_transport import HttpxTransport

    return HttpxTransport(settings)


def _async_httpx_transport(settings: Settings) -> AsyncTransport:
    from .httpx_transport import AsyncHttpxTransport

    return AsyncHttpxTransport(settings)
