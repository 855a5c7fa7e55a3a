"""Is this moment as promised? Every property, worked out once for each different moment."""

from __future__ import annotations

from xpay_flow import messages as m
from xpay_flow.effects import Load, Now, Pause
from xpay_flow.endpoints import WebRequest

from .bounds import Scene
from .contents import Contents, Raised, ask, held
from .outside import Outside
from .properties import PROPERTIES, View, called_once, fulfilled, owed
from .shop import Shop, SnapshotStore

Wrong = tuple[str, str]


def view_of(shop: Shop, store: SnapshotStore, outside: Outside) -> View:
    """What can be seen of a store as it stands, with a browser asking for each status."""
    told = statuses(shop, store, len(outside.intents), outside.now_ms)
    return View(
        records=held(store),
        outside=outside,
        lifecycle=shop.rules.lifecycle,
        told=tuple(word or "" for word in told),
        wrote=None in told,
    )


def statuses(shop: Shop, store: SnapshotStore, count: int, now_ms: int) -> tuple[str | None, ...]:
    """What the status query answers now for the first `count` intents at xPay."""
    return tuple(_asked(shop, store, f"in_{n}", now_ms) for n in range(1, count + 1))


def _asked(shop: Shop, store: SnapshotStore, x_intent_id: str, now_ms: int) -> str | None:
    """The status that the real endpoint answers with; None if it would write.

    It reads once, so running it here, between two steps of others, is every way it can run.
    """
    flow = shop.respond(
        WebRequest(method="GET", path="/payment-status", query={m.RETURN_PARAMETER: x_intent_id}),
        shop.rules,
    )
    try:
        effect = next(flow)
        while True:
            match effect:
                case Now():
                    effect = flow.send(now_ms)
                case Pause():
                    effect = flow.send(None)
                case Load():
                    answer = ask(store, effect)
                    failed = isinstance(answer, Raised)
                    effect = flow.throw(answer.error) if failed else flow.send(answer)
                case _:
                    return None
    except StopIteration as end:
        body = bytes(end.value.body).decode()
        return next((word for word in ("SUCCESS", "FAILED") if f'"{word}"' in body), "PENDING")


class Judge:
    """What is wrong with a moment, looked up by its numbers."""

    def __init__(
        self, shop: Shop, scene: Scene, contents: Contents, outsides: list[Outside]
    ) -> None:
        self._shop, self._contents, self._outsides = shop, contents, outsides
        self._goal = fulfilled if scene.delivers else owed
        self._views: dict[tuple[int, int], View] = {}
        self._wrong: dict[tuple[int, int], Wrong | None] = {}
        self._told: dict[tuple[int, int], tuple[str | None, ...]] = {}

    def wrong(self, content: int, outside: int, faults: int) -> Wrong | None:
        """The first property that does not hold, and what is wrong; None if all hold."""
        key = (content, outside)
        if key not in self._wrong:
            self._wrong[key] = first_wrong(self.view(content, outside), 1)
        return self._wrong[key] or (
            first_wrong(self.view(content, outside), 0) if not faults else None
        )

    def hopeful(self, content: int, outside: int) -> bool:
        """The goal of this scene is reached."""
        return self._goal(self.view(content, outside))

    def view(self, content: int, outside: int) -> View:
        """The moment with these numbers."""
        key = (content, outside)
        if key not in self._views:
            now = self._outsides[outside]
            told = self._asked_once(content, len(now.intents), now.now_ms)
            self._views[key] = View(
                records=self._contents.records[content],
                outside=now,
                lifecycle=self._shop.rules.lifecycle,
                told=tuple(word or "" for word in told),
                wrote=None in told,
            )
        return self._views[key]

    def _asked_once(self, content: int, count: int, now_ms: int) -> tuple[str | None, ...]:
        # Nobody waits in a query here, so the time does not matter to it.
        key = (content, count)
        if key not in self._told:
            store = self._contents.opened(content)
            self._told[key] = statuses(self._shop, store, count, now_ms)
        return self._told[key]


def first_wrong(view: View, faults: int) -> Wrong | None:
    """The first property that does not hold at a moment reached with so many faults."""
    checks = dict(PROPERTIES)
    if not faults:
        checks["handlers_are_called_once"] = called_once
    said = ((name, check(view)) for name, check in checks.items())
    return next(((name, text) for name, text in said if text), None)
