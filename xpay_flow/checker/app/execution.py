"""How does one execution go? From the database as it was kept, led along choices, to its end.

Deliveries overlap. Once they have ended, xPay delivers what was not acknowledged, one after the
other, until it has every acknowledgement or gives up. Then the promises are judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, cast

import attrs

from xpay_flow.settings import Settings

from ..outside import XEvent
from ..stateless.dpor import Choice, Process, Taken
from .databases import Contents, Databases
from .delivery import Delivery, Request, Served
from .dependence import CALLS, NOTHING, UNKNOWN, Touch, Transactions
from .points import Done, Order, Point
from .promises import ACKNOWLEDGED, READ_ONLY, Ending, Promise
from .scenes import Fault, Scene, request_of
from .scenes import Order as ShopOrder

# xPay comes again so often. A shop that needs more of it has not fulfilled the order by then.
ROUNDS_MAX: Final = 4
# A request that takes more transitions than this has no end.
STEPS_MAX: Final = 600
SHOP: Final = "shop"
NOT_DONE: Final = Done()
_NO_CONTENTS: Final[Contents] = {}

# What a process may do next. `waits over`: its patience with a lock, or with a call that hangs.
Act = Literal["go", "die", "lose", "fail", "hang", "unseen", "waits over"]
_ORDERS: Final[Mapping[Act, Order]] = {
    "go": "go",
    "lose": "lose",
    "fail": "fail",
    "unseen": "go",
    "waits over": "timeout",
}
FAULT_OF: Final[Mapping[tuple[str, Act], Fault]] = {
    ("answer", "unseen"): "lost 2xx",
    ("call", "lose"): "call",
    ("call", "fail"): "call",
    ("call", "hang"): "call",
    ("commit", "lose"): "lost answer",
    ("sql", "lose"): "lost answer",
}


@attrs.frozen(kw_only=True)
class Step:
    """One transition of a trace.

    Args:
        process: the name of the request that made it.
        blocked: it waits for a lock, and has done nothing.
        status: of the answer to xPay; `raised` is what escaped from the app then.
        changes: what lasts from here on, where it was looked at.
    """

    process: str
    act: Act
    point: Point | None
    done: Done = NOT_DONE
    blocked: bool = False
    status: int = 0
    raised: str = ""
    touch: Touch = NOTHING
    is_retry: bool = False
    changes: tuple[str, ...] = ()

    @property
    def label(self) -> tuple[Any, ...]:
        return (self.process, self.act, self.point and self.point.label)


@attrs.frozen(kw_only=True)
class Stage:
    """What all executions of a check have in common.

    Args:
        paths: of the webhook, and of the return page.
        promises: judged at each end.
    """

    served: Served
    databases: Databases
    order: ShopOrder
    settings: Settings
    webhook: str
    return_path: str
    promises: tuple[Promise, ...]
    coarse: bool


@attrs.frozen
class Broken:
    """A promise that an execution has broken, and why."""

    promise: str
    why: str


class Run:
    """One execution.

    Args:
        faults: so many may happen.
        kinds: of these kinds.
        watch: what lasts is looked at after each transition that could have changed it.
        names: of the requests that overlap; each has random numbers of its own.
    """

    def __init__(
        self,
        stage: Stage,
        scene: Scene,
        faults: int,
        kinds: frozenset[Fault],
        *,
        watch: Callable[[Contents, Contents], tuple[str, ...]] | None = None,
        names: str = "ab",
    ) -> None:
        self._names = names
        self._stage, self._scene, self._kinds, self._watch = stage, scene, kinds, watch
        self.faults_left = faults
        self.steps: list[Step] = []
        self.calls: list[tuple[str, str]] = []
        self._acknowledged: set[XEvent] = set()
        self._events: dict[str, XEvent] = {}
        self._transactions: dict[str, Transactions] = {}
        self._taken_out: Any = None
        self._shop_waits = False
        self._live: dict[str, Delivery] = {}
        stage.databases.restore()
        self._seen: Contents = stage.databases.contents() if watch else _NO_CONTENTS
        self._begin()

    def _begin(self) -> None:
        databases = self._stage.databases
        if self._scene.fault == "too early":
            self._taken_out = databases.take_out(self._stage.order.receipt_id)
        for event in self._scene.before:
            self._to_its_end(self._delivered(event, is_first=True))
        for number, event in enumerate(self._scene.events):
            self._delivered(event, name=self._names[number], is_first=True)
        if self._scene.looks:
            self._started(
                Request(method="GET", path=self._stage.return_path), "a", "the return page"
            )
        for delivery in self._live.values():
            if not delivery.is_over:
                delivery.begin()
        if self._watch or self._scene.looks:
            self._seen = databases.contents()

    # --- for the search --------------------------------------------------------------------------

    def choices(self) -> Mapping[Process, Sequence[Choice]]:
        """Who can go on, and how."""
        able: dict[Process, Sequence[Choice]] = {
            name: tuple(self._acts(d)) for name, d in self._live.items() if _is_able(d)
        }
        if self._taken_out is not None and not self._shop_waits:
            able[SHOP] = ("go",)
        return able or {
            name: ("waits over",)
            for name, delivery in self._live.items()
            if delivery.is_blocked and not delivery.is_over
        }

    def take(self, process: Process, choice: Choice) -> Taken | None:
        """Make one transition."""
        name, act = str(process), cast(Act, choice)
        if name == SHOP:
            return Taken(self._shop_commits())
        if name not in self._live or act not in self.choices().get(name, ()):
            return None
        if act not in ("go", "waits over"):
            self.faults_left -= 1
        touch = self._take(self._live[name], act)
        last = self.steps[-1]
        if act == "lose" and last.point and last.point.kind == "sql" and last.done.in_transaction:
            # It was no commit, so there is no answer of one that could be lost.
            return None
        return Taken(touch)

    def is_over(self) -> bool:
        return not self.choices()

    def finish(self) -> Broken | None:
        """Let xPay come again until it has every acknowledgement, and judge."""
        rounds = 0
        while rounds < ROUNDS_MAX and self._pending():
            rounds += 1
            for event in self._pending():
                self._to_its_end(self._delivered(event))
            self._wake()
        self._wake()
        if self._taken_out is not None:
            self._shop_commits()
        return self._judged()

    def leave(self) -> None:
        """End all processes."""
        for delivery in self._live.values():
            delivery.die()

    # --- transitions -----------------------------------------------------------------------------

    def _acts(self, delivery: Delivery) -> Iterator[Act]:
        yield "go"
        point = delivery.at
        if not self.faults_left or point is None:
            return
        for (kind, act), fault in FAULT_OF.items():
            if kind == point.kind and fault in self._kinds and _can(act, delivery, point):
                yield act
        # To die later, with nothing done in between that lasts, is the same for all others.
        if "death" in self._kinds and (delivery.has_lasted or point.kind == "commit"):
            yield "die"

    def _take(self, delivery: Delivery, act: Act, *, is_retry: bool = False) -> Touch:
        point, name = delivery.at, delivery.name
        transactions = self._transactions[name]
        if act == "die":
            delivery.die()
            delivery.has_died = True
            touch = transactions.died()
            self._add(Step(process=name, act=act, point=point, touch=touch, is_retry=is_retry))
            self._wake_waiting()
            return touch
        if act == "hang":
            delivery.is_hung = True
            self._add(Step(process=name, act=act, point=point, touch=CALLS, is_retry=is_retry))
            return CALLS
        assert point is not None
        done = delivery.go(_ORDERS[act])
        blocked = delivery.is_blocked
        touch = transactions.touch(point, done, blocked=blocked)
        if not blocked:
            self._happened(delivery, point, done, act)
        self._add(
            Step(
                process=name,
                act=act,
                point=point,
                done=done,
                blocked=blocked,
                status=delivery.status if point.kind == "answer" else 0,
                raised=delivery.raised,
                touch=touch,
                is_retry=is_retry,
            )
        )
        if not blocked and not done.in_transaction:
            self._wake_waiting()
        return touch

    def _happened(self, delivery: Delivery, point: Point, done: Done, act: Act) -> None:
        delivery.has_lasted = point.kind in ("call", "answer") or (
            not done.in_transaction and point.kind != "rollback"
        )
        if point.kind == "call" and act in ("go", "lose"):
            self.calls.append((point.text, point.key))
        if point.kind == "answer" and act == "go" and 200 <= int(point.text) < 300:
            event = self._events.get(delivery.name)
            if event is not None and not delivery.has_died:
                self._acknowledged.add(event)

    def _wake_waiting(self) -> None:
        """A lock may be free: those that wait for one try again."""
        self._shop_waits = False
        for delivery in self._live.values():
            delivery.is_blocked = False

    def _shop_commits(self) -> Touch:
        """The shop's own commit, which makes its order known."""
        self._shop_waits = not self._stage.databases.put_in(self._taken_out)
        step = Step(process=SHOP, act="go", point=None, blocked=self._shop_waits, touch=UNKNOWN)
        if not self._shop_waits:
            self._taken_out = None
            self._wake_waiting()
        self._add(step)
        return UNKNOWN

    def _add(self, step: Step) -> None:
        if self._watch is not None and (step.act == "die" or not step.done.in_transaction):
            now = self._stage.databases.contents()
            step = attrs.evolve(step, changes=self._watch(self._seen, now))
            self._seen = now
        self.steps.append(step)

    # --- xPay ------------------------------------------------------------------------------------

    def _pending(self) -> list[XEvent]:
        events = dict.fromkeys((*self._scene.before, *self._scene.events))
        return [e for e in events if not e.flaw and e not in self._acknowledged]

    def _delivered(self, event: XEvent, name: str = "", *, is_first: bool = False) -> Delivery:
        stage = self._stage
        request = request_of(event, stage.order, stage.webhook, stage.settings)
        delivery = self._started(request, name or f"again{len(self._events)}", str(event))
        self._events[delivery.name] = event
        if not is_first or not name:
            delivery.begin()
        return delivery

    def _started(self, request: Request, name: str, subject: str) -> Delivery:
        self._live[name] = delivery = Delivery(self._stage.served, request, name, subject)
        self._transactions[name] = Transactions(coarse=self._stage.coarse)
        return delivery

    def _to_its_end(self, delivery: Delivery) -> None:
        """Alone, without a fault; what stands in its way ends first."""
        while not delivery.is_over:
            if len(self.steps) > STEPS_MAX:
                delivery.die()
                return
            if delivery.is_blocked:
                self._wake()
            act: Act = "waits over" if delivery.is_blocked or delivery.is_hung else "go"
            self._take(delivery, act, is_retry=True)

    def _wake(self) -> None:
        """What hangs is given up by the app's own time limit, and goes on."""
        for delivery in list(self._live.values()):
            if delivery.is_hung and not delivery.is_over:
                # xPay has given this delivery up long ago.
                delivery.has_died = True
                self._take(delivery, "waits over")
                self._to_its_end(delivery)

    def _judged(self) -> Broken | None:
        databases, scene = self._stage.databases, self._scene
        if scene.looks and databases.contents() != self._seen:
            return Broken(READ_ONLY, "the return page has written to the database")
        for event in self._pending():
            why = f"xPay sends {event} {ROUNDS_MAX} more times, and never receives a 2xx"
            return Broken(ACKNOWLEDGED, why)
        ending = Ending(
            scene=scene,
            order=self._stage.order,
            calls=tuple(self.calls),
            had_trouble=any(step.act not in ("go", "waits over") for step in self.steps),
            databases=databases,
        )
        for promise in self._stage.promises:
            if why := promise.broken(ending):
                return Broken(promise.sentence, why)
        return None

    @property
    def subjects(self) -> dict[str, str]:
        """What each process is about."""
        return {name: delivery.subject for name, delivery in self._live.items()}


def _is_able(delivery: Delivery) -> bool:
    return not (delivery.is_over or delivery.is_blocked or delivery.is_hung)


def _can(act: Act, delivery: Delivery, point: Point) -> bool:
    if act == "unseen":
        return 200 <= delivery.status < 300
    if point.kind == "sql":
        # By itself a commit, if it writes.
        return not point.in_transaction and not _reads(point)
    return True


def _reads(point: Point) -> bool:
    return point.text.lstrip()[:6].upper() in ("SELECT", "BEGIN", "BEGIN ")
