"""What is checked? A store, rules, handlers, and the flows that a shop runs.

A party may be a flow of ours, a flow of your own, or a plain function that knows nothing of flows.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial, update_wrapper
from itertools import repeat
from typing import Any, Protocol, cast

import attrs

from xpay_flow import flows
from xpay_flow.checkout_request import CheckoutRequest
from xpay_flow.effects import Ran, RunHandler
from xpay_flow.endpoints import (
    Pages,
    ReadRoute,
    WebRequest,
    WebResponse,
    WriteRoute,
    json_response,
    route,
)
from xpay_flow.errors import ConfigurationError, XPayFlowError, error_text
from xpay_flow.flow import AsyncFlow, Flow
from xpay_flow.flows import Checkout, FlowContext
from xpay_flow.flows.outbox import WorkerCapabilities
from xpay_flow.handlers import ONLY_IN_TRANSACTION
from xpay_flow.ports import NoAnswer, RowLocking, Store
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.settings import Settings
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.xpay_api import Created

from .bounds import Group, Scene, passages_max
from .coverage import Coverage
from .hidden import HiddenState
from .oversight import Oversight
from .plain import AnyFlow as AnyFlow
from .plain import plain
from .repeating import Copy, unrepeatable
from .shared_state import SharedState
from .sqlite_snapshots import SQLiteSnapshots
from .theirs import raised_at

WITHIN = (
    "handlers within the store's transaction are not called; "
    "what they write is taken to be there with our record, or not at all"
)
PAGE_AGE_S = 24 * 3600
NEXT_SECRET = "the_next_signing_key_0123456789"


class SnapshotStore(Store, Protocol):
    """A store that can be put back to where it was, and can list what it holds."""

    def snapshot(self) -> Any: ...

    def restore(self, snapshot: Any) -> None: ...

    def recent(self, limit: int, realms: Realms = EVERY_REALM, before: str = "") -> Any: ...


def _searchable(store: Any) -> tuple[SnapshotStore, tuple[str, ...]]:
    """A store that can be put back, and what is assumed of the one that cannot."""
    if hasattr(store, "snapshot") and hasattr(store, "restore"):
        return store, ()
    if type(store) is SQLiteStore:
        return SQLiteSnapshots(), ("SQLite's file is taken to do what a database in memory does",)
    note = f"{type(store).__name__} is taken to do what MemoryStore does; see check --store"
    return MemoryStore(), (note,)


def answering(request: WebRequest, context: FlowContext) -> AnyFlow:
    """The endpoint's flow: what is checked is what a framework calls."""
    answer = route(request, context, Pages())
    assert isinstance(answer, WriteRoute | ReadRoute)
    return answer.flow


@attrs.frozen(kw_only=True)
class Shop:
    """One shop under check. A flow of your own, written with our effects, takes the place of ours.

    Args:
        handlers: called for real, once for each different payment that they are given.
        transactional: handlers that are given the store's transaction.
        calls_within: they are called for real, as only a search without a memory does.
        click, send_to_checkout, deliver, reconcile, respond: make the flows.
        replaced: what stands in for something of the real shop, in words.
        absent: parties that this shop does not have. One without a worker fulfils orders itself.
        allows: hidden inputs that its code may take all the same; see `guard`.
        coverage: notes which lines of the user's code run.
        tries_repeats: handlers are tried twice under one key; see `repeating`.
        world: what handlers can name, as it was before the check.
        repeats: what that has shown, by the name of the handler.
        troubles: handlers that raised or are missing, with what to do, by name.
    """

    store: SnapshotStore
    context: FlowContext
    handlers: Mapping[str, Callable[..., object]]
    transactional: Mapping[str, Callable[..., object]] = attrs.field(
        factory=dict[str, Any], hash=False
    )
    calls_within: bool = False
    click: Callable[[CheckoutRequest, FlowContext], AnyFlow] = flows.start_checkout
    send_to_checkout: Callable[[str, FlowContext], AnyFlow] = flows.send_to_checkout
    deliver: Callable[[FlowContext], AnyFlow] = flows.deliver
    reconcile: Callable[[FlowContext], AnyFlow] = flows.reconcile
    respond: Callable[[WebRequest, FlowContext], AnyFlow] = answering
    replaced: tuple[str, ...] = ()
    absent: frozenset[Group] = frozenset()
    allows: frozenset[str] = frozenset()
    coverage: Coverage = attrs.Factory(Coverage)
    tries_repeats: bool = False
    world: Copy | None = attrs.field(default=None, eq=False, repr=False)
    repeats: dict[str, str] = attrs.field(factory=dict[str, str], eq=False, repr=False)
    troubles: dict[str, str] = attrs.field(factory=dict[str, str], eq=False, repr=False)

    @property
    def own_parties(self) -> tuple[Callable[..., object], ...]:
        """The flows of the user's own; ours need no watching."""
        ours = (
            flows.start_checkout,
            flows.send_to_checkout,
            flows.deliver,
            flows.reconcile,
            answering,
        )
        parties = (self.click, self.send_to_checkout, self.deliver, self.reconcile, self.respond)
        return tuple(party for party in parties if getattr(party, "func", party) not in ours)

    @property
    def own_store(self) -> bool:
        """The store is the user's own; of ours it is known what it keeps."""
        return type(self.store) not in (MemoryStore, SQLiteSnapshots)

    def watched(self) -> Shop:
        """The shop with a fresh account of which of its lines run."""
        functions = (*self.own_parties, *self.handlers.values())
        return attrs.evolve(
            self,
            coverage=Coverage(functions),
            tries_repeats=True,
            world=Copy(SharedState(self.handlers.values())),
            repeats=dict[str, str](),
            troubles=dict[str, str](),
        )

    def put_back(self, snapshot: Any) -> None:
        """The store as in the snapshot, and what handlers can name as before the check."""
        self.store.restore(snapshot)
        if self.world is not None:
            self.world.put_back()

    def oversight(self) -> Oversight:
        """To be entered while code of the user's runs."""
        return Oversight(self.allows, self.coverage)

    @classmethod
    def of(cls, flow: Flow | AsyncFlow) -> Shop:
        """The shop behind a flow.

        SQLite is put back through a copy in memory; any other store without `snapshot` is replaced
        by the one in memory.
        """
        store, replaced = _searchable(flow.store)
        registered = flow.ports.handlers
        transactional = {str(n): h.call for n, h in registered.items() if h.transactional}
        deliver = flows.deliver
        if transactional:
            capabilities = attrs.evolve(flow.capabilities, row_locks=False, slots=False)
            deliver = partial(flows.deliver, capabilities=capabilities)
            replaced = (*replaced, WITHIN)
        return cls(
            store=store,
            context=flow.context,
            handlers={str(n): h.call for n, h in registered.items() if not h.transactional},
            transactional=transactional,
            deliver=deliver,
            replaced=replaced,
        )

    def on(self, store: Store) -> Shop:
        """The shop as it is on a real store: its transactions and its holds are used."""
        deliver, ours = self.deliver, _means(self.deliver)
        if ours is not None and isinstance(store, RowLocking) and store.can_lock:
            deliver = partial(flows.deliver, capabilities=attrs.evolve(ours, row_locks=True))
        return attrs.evolve(
            self,
            calls_within=bool(self.transactional),
            deliver=deliver,
            replaced=tuple(note for note in self.replaced if note != WITHIN),
        )

    @classmethod
    def plain(
        cls,
        *,
        webhook: Callable[..., object],
        click: Callable[..., object] = flows.start_checkout,
        send_to_checkout: Callable[..., object] | None = None,
        deliver: Callable[..., object] | None = None,
        reconcile: Callable[..., object] | None = None,
        handlers: Mapping[str, Callable[..., object]] | None = None,
        store: SnapshotStore | None = None,
        settings: Settings | None = None,
        allows: AbstractSet[str] = frozenset(),
    ) -> Shop:
        """A shop written by hand: each party a plain function, a flow, or None for none.

        Args:
            webhook: `(request, ports)`; returns a status, or anything that has one. What a port
                raises and it lets out is answered 500, as every framework does.
            click: `(request, ports)`; returns a `Checkout` or xPay's `Created`.
            forward: `(intent_id, ports)`; `deliver`, `reconcile`: `(ports)`.
        """
        parties: dict[Group, Callable[..., object] | None] = {
            "send_to_checkout": send_to_checkout,
            "worker": deliver,
            "reconciler": reconcile,
        }
        return cls(
            store=store or MemoryStore(),
            context=FlowContext(settings or Settings.sandbox()),
            handlers=handlers or {"on_success": _does_nothing},
            respond=_Endpoint(webhook),
            click=_Click(click),
            send_to_checkout=_party(send_to_checkout),
            deliver=_party(deliver),
            reconcile=_party(reconcile),
            absent=frozenset(group for group, party in parties.items() if party is None),
            allows=frozenset(allows),
        )

    def fitted(self, scene: Scene) -> Scene:
        """The scene with this shop's parties only.

        Without a worker, an order has to be fulfilled, and not only pending: so
        there the worker stays as a party of none.
        """
        parties = {group: n for group, n in scene.parties.items() if group not in self.absent}
        if "worker" in self.absent:
            parties["worker"] = 0
        return attrs.evolve(scene, parties=parties)

    def shortened(self, faults: int) -> Shop:
        """The shop with as many entries in each schedule as faults can spoil, and no more.

        Each fault spoils at most one try, so a flow that gives up at the end of a schedule of this
        length has met a bug and not bad luck. The flows know the first entries and the end only,
        so more entries would repeat what a shorter schedule has shown.
        """
        entries = max(faults, 1)
        settings = attrs.evolve(
            self.context.settings,
            reconcile_schedule_s=self.context.settings.reconcile_schedule_s[:entries],
            late_reconcile_schedule_s=(),
            retry_schedule_s=self.context.settings.retry_schedule_s[:entries],
            # A fault cuts at most one try short, and the last one is not made.
            cut_short_max=faults + 2,
            create_tries=1,
            # No page is that old here; where clicks query pages, they always do (`casting`).
            page_check_after_s=PAGE_AGE_S,
            # A second one, for xPay to come to sign with.
            webhook_secrets=(*self.context.settings.webhook_secrets[:1], NEXT_SECRET),
        )
        note = (
            f"schedules are cut to {entries} entries, and one try of a creation at a time; "
            f"a call may be cut short {faults + 2} times; "
            "no flow gives up that loses races"
        )
        if self.own_parties:
            note += (
                f"; after each act of a customer or an operator time goes on "
                f"{passages_max(faults)} times, and what is due later never is"
            )
        # Which race it is that is lost makes no difference, as long as there is another try.
        context = attrs.evolve(self.context, settings=settings, tries=repeat(None))
        return attrs.evolve(self, context=context, replaced=(*self.replaced, note))

    def unrepeatable(self, op: RunHandler) -> str:
        """Why this handler cannot be repeated, tried once; nothing if it can."""
        handler = self.handlers.get(op.name)
        if handler is None or not self.tries_repeats:
            return ""
        if op.name not in self.repeats:

            def call() -> tuple[str, str]:
                # Which lines run in a trial is no matter.
                ran = self._ran(op, Oversight(self.allows, Coverage()))
                return ran.outcome, ran.error

            found = unrepeatable(handler, call)
            if found is None:
                return ""
            self.repeats[op.name] = found and f"{op.name} cannot be repeated: {found}"
        return self.repeats[op.name]

    def ran(self, op: RunHandler) -> Ran:
        """The user's real handler, called."""
        return self._ran(op, self.oversight())

    def _ran(self, op: RunHandler, oversight: Oversight) -> Ran:
        if op.name in self.transactional:
            return Ran("failed", ONLY_IN_TRANSACTION)
        handler = self.handlers.get(op.name)
        if handler is None:
            self.troubles[op.name] = f"{op.name} is missing: register one, @flow.{op.name}"
            return Ran("missing")
        try:
            with oversight:
                returned = handler(op.payment)
                if inspect.iscoroutine(returned):
                    asyncio.run(returned)
        except HiddenState:
            raise
        except Exception as error:
            self.troubles[op.name] = f"{op.name} raised {error_text(error)}{raised_at(error)}"
            return Ran("failed", error_text(error))
        return Ran("done")


def _means(deliver: Callable[..., AnyFlow]) -> WorkerCapabilities | None:
    """What our flow that delivers is given; None of a flow of the user's own."""
    if isinstance(deliver, partial):
        given: WorkerCapabilities | None = deliver.keywords.get("capabilities")
        return given
    return WorkerCapabilities() if deliver is flows.deliver else None


# --- plain functions in the places of flows ------------------------------------------------------


def _flowing(party: Callable[..., object], context: FlowContext) -> Callable[..., AnyFlow]:
    """A party as a maker of flows: a flow as it is, and a plain function made into one."""
    if inspect.isgeneratorfunction(party):
        return lambda *args: party(*args, context)
    return plain(party, context.settings)


def _party(party: Callable[..., object] | None) -> Callable[..., AnyFlow]:
    """The flow of a party that is given its input, if any, and rules; None does nothing."""

    def flow(*args: Any) -> AnyFlow:
        *given, context = args
        return _flowing(party, context)(*given) if party is not None else _nothing()

    # So what is the user's of it is found.
    return flow if party is None else update_wrapper(flow, party)


def _nothing() -> AnyFlow:
    yield from ()


def _does_nothing(_: object) -> None: ...


@attrs.frozen
class _Endpoint:
    """A plain webhook behind a framework; other routes are ours."""

    webhook: Callable[..., object]

    @property
    def func(self) -> Callable[..., object]:
        """What is the user's of it, by the name by which that of a partial is found."""
        return self.webhook

    def __call__(self, request: WebRequest, context: FlowContext) -> AnyFlow:
        if request.path != "/webhook" or request.method != "POST":
            return answering(request, context)
        return self._answered(request, context)

    def _answered(self, request: WebRequest, context: FlowContext) -> AnyFlow:
        try:
            returned = yield from _flowing(self.webhook, context)(request)
        except (XPayFlowError, NoAnswer):
            return json_response(500, {})
        return response_of(returned)


@attrs.frozen
class _Click:
    """A plain function that begins a payment."""

    click: Callable[..., object]

    @property
    def func(self) -> Callable[..., object]:
        """As of `_Endpoint`."""
        return self.click

    def __call__(self, request: CheckoutRequest, context: FlowContext) -> AnyFlow:
        begun = yield from _flowing(self.click, context)(request)
        if isinstance(begun, Created):
            return Checkout(
                url=begun.url,
                intent_id="",
                x_intent_id=begun.answer.x_intent_id,
                state="created",
                resumed=False,
            )
        return begun


def response_of(returned: Any) -> WebResponse:
    """What a framework makes of what an endpoint returned.

    Raises:
        ConfigurationError: there is no status in it.
    """
    if isinstance(returned, WebResponse):
        return returned
    if returned is None or isinstance(returned, str | bytes | Mapping):
        return json_response(200, {})
    named = (getattr(returned, name, None) for name in ("status", "status_code"))
    for status in (*named, returned, *_parts(returned)):
        if isinstance(status, int) and not isinstance(status, bool):
            return json_response(status, {})
    raise ConfigurationError(f"the webhook returned {returned!r:.80}; return a status such as 200")


def _parts(returned: object) -> tuple[object, ...]:
    return cast(tuple[object, ...], returned) if isinstance(returned, tuple) else ()
