"""Which worlds are searched by both? Small ones, about what goes wrong with payments.

Each has a twin in Promela beside this file. Each change of one must be made in the other by hand:
that they were written twice is what makes it mean something when both are counted alike. A flow
deletes a variable that it no longer reads where its twin sets one to 0: what is in hand is part of
a state.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from .toy import Add, Flow, Get, Lost, Task, World, Write, put, swap

HERE = Path(__file__).parent
BUYERS = 3


@attrs.frozen
class Twin:
    """A world, and where it is written in Promela.

    Args:
        defines: which variant of the text, and how large.
        faults: how many may happen.
        broken_with: the fewest faults that break the promise; None if nothing does.
        symmetric: tasks are alike, so that neither counts who is who.
    """

    world: World
    text: str
    defines: tuple[str, ...] = ()
    faults: int = 0
    broken_with: int | None = None
    symmetric: bool = False

    @property
    def path(self) -> Path:
        return HERE / self.text


# --- two customers, one article ------------------------------------------------------------------


def takes_one() -> Flow:
    """Reads the stock and writes what it should be then."""
    stock = yield Get("stock")
    yield put(stock=stock - 1)
    del stock
    yield Add("sold")


def takes_one_if_unchanged() -> Flow:
    """Writes only if no other has meanwhile, and otherwise reads again."""
    took = yield from tries_to_take_one(BUYERS)
    yield Add("sold" if took else "turned_away")


def tries_to_take_one(tries: int) -> Generator[Any, Any, bool]:
    while tries:
        tries -= 1
        stock = yield Get("stock")
        if (yield swap("stock", stock, stock - 1)):
            return True
        del stock
    return False


def buyers(
    name: str, flow: Callable[[], Flow], count: int = BUYERS, *, alike: bool = False
) -> World:
    """So many customers at once. None is sold what is not there, or turned away for nothing."""
    return World(
        name=name,
        opening={"stock": count, "sold": 0, "turned_away": 0},
        tasks=tuple(Task("buyer" if alike else f"buyer {n}", flow) for n in range(count)),
        kept=lambda held: held["stock"] + held["sold"] <= count and not held["turned_away"],
    )


# --- an outbox, and a worker that dies -----------------------------------------------------------


def is_paid() -> Flow:
    """A webhook: the payment and what is due for it, in one step; then the answer."""
    if (yield swap("paid", 0, 1, pending=1)):
        yield Add("delivered")
    yield Add("answered")


def calls(*, with_key: bool) -> Flow:
    """A worker. With a key, a second call is recognised by the callee."""
    if (yield Get("pending")):
        yield put(called=1) if with_key else Add("called")
        yield put(pending=0)


def outbox(name: str, *, with_key: bool) -> World:
    """Two deliveries and a worker that dies: is the handler called more than once?"""
    worker = Task("worker", partial(calls, with_key=with_key), again=True, dies=True)
    deliveries = tuple(Task(f"delivery {n}", is_paid, dies=True) for n in range(2))
    return World(
        name=name,
        opening={"paid": 0, "pending": 0, "called": 0, "delivered": 0, "answered": 0},
        tasks=(*deliveries, worker),
        kept=lambda held: held["called"] <= 1,
    )


# --- a key that is saved before the work ---------------------------------------------------------


def key_then_work(event: str) -> Flow:
    """Remembers that it has seen the event, and then does what there is to do."""
    if (yield swap(f"seen_{event}", 0, 1)):
        yield put(**{f"paid_{event}": 1})
    yield put(**{f"reported_{event}": 1})


def key_with_work(event: str) -> Flow:
    """The same, with both in one step."""
    yield swap(f"seen_{event}", 0, 1, **{f"paid_{event}": 1})
    yield put(**{f"reported_{event}": 1})


def dedupe(name: str, flow: Callable[[str], Flow]) -> World:
    """Three events, each delivered until it is answered: is an answered one recorded?"""
    events = ("a", "b", "c")
    return World(
        name=name,
        opening={f"{what}_{event}": 0 for event in events for what in ("seen", "paid", "reported")},
        tasks=tuple(Task(event, partial(flow, event), dies=True) for event in events),
        kept=lambda held: all(
            held[f"reported_{event}"] <= held[f"paid_{event}"] for event in events
        ),
    )


# --- a lease that runs out -----------------------------------------------------------------------


def writes(me: int, *, fenced: bool) -> Flow:
    """Takes the lease and a number, writes with it, and gives the lease back."""
    if not (yield from tries_to_hold(me, 2)):
        return
    token = yield Add("token")
    yield Write("written", token, fenced)
    del token
    yield swap("holder", me, 0)


def tries_to_hold(me: int, tries: int) -> Generator[Any, Any, bool]:
    while tries:
        tries -= 1
        if (yield swap("holder", 0, me)):
            return True
    return False


def runs_out(held: Mapping[str, int]) -> Iterator[Mapping[str, int]]:
    """The lease, whatever its holder is doing."""
    if held["holder"]:
        yield {"holder": 0}


def lease(name: str, *, fenced: bool) -> World:
    """Three workers and one lease: is a later work undone by an earlier?"""
    return World(
        name=name,
        opening={"holder": 0, "token": 0, "written": 0, "undone": 0},
        tasks=tuple(Task(f"worker {n}", partial(writes, n, fenced=fenced)) for n in (1, 2, 3)),
        kept=lambda held: not held["undone"],
        happens=runs_out,
    )


# --- two deliveries, a worker, and answers that are lost -----------------------------------------


def records(event: str) -> Flow:
    """A webhook, delivered again and again: a success makes a call due, a failure is noted."""
    version = yield Get("version")
    changes = {"paid": 1, "pending": 1} if event == "success" else {"failed": 1}
    if not (yield Get("paid")):
        try:
            if not (yield swap("version", version, (version + 1) % 3, **changes)):
                return
        except Lost:
            return
    del version
    yield put(**{f"{event}_reported": 1})


def calls_and_loses(*, with_key: bool) -> Flow:
    """A worker that gives up for now when an answer is lost."""
    try:
        yield from calls(with_key=with_key)
    except Lost:
        return


def two_deliveries(name: str, *, with_key: bool) -> World:
    """A failure and a success at once, and the worker: is the handler called more than once?"""
    deliveries = tuple(
        Task(event, partial(records, event), again=True, loses=True)
        for event in ("failure", "success")
    )
    worker = Task("worker", partial(calls_and_loses, with_key=with_key), again=True, loses=True)
    names = (
        "version",
        "paid",
        "failed",
        "pending",
        "called",
        "failure_reported",
        "success_reported",
    )
    return World(
        name=name,
        opening=dict.fromkeys(names, 0),
        tasks=(*deliveries, worker),
        kept=lambda held: held["called"] <= 1,
    )


TWINS = (
    Twin(buyers("lost update", takes_one), "lost_update.pml", broken_with=0),
    Twin(
        buyers("lost update, all alike", takes_one, alike=True),
        "lost_update_alike.pml",
        broken_with=0,
        symmetric=True,
    ),
    Twin(buyers("compare and set", takes_one_if_unchanged), "compare_and_set.pml"),
    Twin(outbox("outbox", with_key=False), "outbox.pml", faults=2, broken_with=1),
    Twin(outbox("outbox, with key", with_key=True), "outbox.pml", ("KEY",), faults=2),
    Twin(dedupe("key, then work", key_then_work), "dedupe.pml", faults=2, broken_with=1),
    Twin(dedupe("key with work", key_with_work), "dedupe.pml", ("AT_ONCE",), faults=2),
    Twin(lease("lease", fenced=False), "lease.pml", faults=2, broken_with=1),
    Twin(lease("lease with a fence", fenced=True), "lease.pml", ("FENCED",), faults=2),
    Twin(
        two_deliveries("two deliveries", with_key=False),
        "two_deliveries.pml",
        faults=2,
        broken_with=1,
    ),
    Twin(
        two_deliveries("two deliveries, with key", with_key=True),
        "two_deliveries.pml",
        ("KEY",),
        faults=2,
    ),
)
