"""Is this moment as promised? Every property, worked out once for each different moment."""

from __future__ import annotations

from collections.abc import Mapping

from xpay_flow import messages as m
from xpay_flow.effects import History, Load, Now, Pause, WaitForChange
from xpay_flow.endpoints import WebRequest
from xpay_flow.errors import ConfigurationError
from xpay_flow.records import Record

from .contents import Contents, Raised, held, store_answer
from .hidden import HiddenState
from .outside import Outside
from .promises import Promises, Wrong
from .properties import Property, View
from .shop import Shop, SnapshotStore, answering, response_of


def view_of(shop: Shop, store: SnapshotStore, outside: Outside) -> View:
    """What can be seen of a store as it stands, with a browser asking for each status."""
    shown = statuses(shop, store, len(outside.intents), outside.now_ms)
    return View(
        records=held(store),
        outside=outside,
        lifecycle=shop.context.lifecycle,
        shown=tuple(word or "" for word in shown),
        wrote=None in shown,
    )


def statuses(shop: Shop, store: SnapshotStore, count: int, now_ms: int) -> tuple[str | None, ...]:
    """What the status query answers now for the first `count` intents at xPay; None if it writes.

    Raises:
        HiddenState: it depends on more than the store.
    """
    shown = tuple(_shown(shop, store, f"in_{n}", now_ms) for n in range(1, count + 1))
    if shop.respond is not answering:
        again = tuple(_shown(shop, store, f"in_{n}", now_ms) for n in range(1, count + 1))
        if shown != again:
            raise HiddenState(
                f"the status query answered {shown} at first, and {again} when called again with "
                "the same contents of the store"
            )
    return shown


def _shown(shop: Shop, store: SnapshotStore, x_intent_id: str, now_ms: int) -> str | None:
    if shop.respond is answering:
        return _page(shop, store, "/payment-status", x_intent_id, now_ms)
    with shop.oversight():
        shown = _page(shop, store, "/payment-status", x_intent_id, now_ms)
        # Of ours it is known that the other page does not write.
        returned = _page(shop, store, "/return", x_intent_id, now_ms)
        return None if returned is None else shown


def _page(shop: Shop, store: SnapshotStore, path: str, x_intent_id: str, now_ms: int) -> str | None:
    """The status that the real endpoint answers with; None if it would write.

    It reads once, so running it here, between two steps of others, is every way it can run.
    """
    try:
        flow = shop.respond(
            WebRequest(method="GET", path=path, query={m.RETURN_PARAMETER: x_intent_id}),
            shop.context,
        )
        effect = next(flow)
        while True:
            match effect:
                case Now():
                    effect = flow.send(now_ms)
                case Pause() | WaitForChange():
                    effect = flow.send(None)
                case Load() | History():
                    answer = store_answer(store, effect)
                    failed = isinstance(answer, Raised)
                    effect = flow.throw(answer.error) if failed else flow.send(answer)
                case _:
                    return None
    except StopIteration as end:
        body = bytes(response_of(end.value).body).decode()
        return next((word for word in ("SUCCESS", "FAILED") if f'"{word}"' in body), "PENDING")
    except (HiddenState, ConfigurationError):
        raise
    except Exception:
        # The browser is shown an error.
        return "ERROR"


class Judge:
    """What is wrong with a situation, looked up by its number."""

    def __init__(self, shop: Shop, promises: Promises, contents: Contents) -> None:
        self._shop, self._contents = shop, contents
        self.promises = promises
        self._wrong: dict[int, Wrong | None] = {}
        self._of_records: dict[int, Wrong | None] = {}
        self._shown: dict[tuple[int, int, int], tuple[str | None, ...]] = {}

    def wrong(self, situation: int, content: int, outside: Outside, faults: int) -> Wrong | None:
        """The first property that does not hold, and what is wrong; None if all hold."""
        if situation not in self._wrong:
            self._wrong[situation] = self._first_wrong(content, outside)
        found = self._wrong[situation]
        if found is None and not faults:
            return first_wrong(self.view(content, outside), self.promises.unspoilt)
        return found

    def _first_wrong(self, content: int, outside: Outside) -> Wrong | None:
        view = self.view(content, outside)
        if content not in self._of_records:
            self._of_records[content] = first_wrong(view, self.promises.record_checks)
        return self._of_records[content] or first_wrong(view, self.promises.moment_checks)

    def view(self, content: int, outside: Outside) -> View:
        """The moment with these contents and this world."""
        shown = self._statuses_once(content, len(outside.intents), outside.now_ms)
        return View(
            records=self._contents.records[content],
            outside=outside,
            lifecycle=self._shop.context.lifecycle,
            shown=tuple(word or "" for word in shown),
            wrote=None in shown,
        )

    def _statuses_once(self, content: int, count: int, now_ms: int) -> tuple[str | None, ...]:
        # To a query of ours the time does not matter, since none waits here.
        key = (content, count, now_ms if self._shop.own_parties else 0)
        if key not in self._shown:
            store = self._contents.opened(content)
            self._shown[key] = statuses(self._shop, store, count, now_ms)
        return self._shown[key]


def first_wrong(view: View, checks: Mapping[str, Property]) -> Wrong | None:
    """The first property that does not hold."""
    found = ((name, check(view)) for name, check in checks.items())
    return next(((name, text) for name, text in found if text), None)


def standing(records: tuple[Record, ...], outside: Outside) -> tuple[object, ...]:
    """What is on file, paid and called at a moment: for comparing two ways to search."""
    stored = ((r.key, r.intent, frozenset(e.status for e in r.outbox)) for r in records)
    return outside.intents, outside.events, outside.calls, tuple(stored)
