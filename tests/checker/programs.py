"""Programs written at random: flows, workers, stores and promises, to try what is merged.

A program is Python source, so that everything a language has can stand in it. Each searches for
something in the store a few times and gives in: by loops and by counts of every kind, that are kept
in every kind of place. Some of these places outlive the flow, and are to be refused.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
from hypothesis import strategies as st

from xpay_flow.checker import Own, Shop
from xpay_flow.checker.bounds import DEFAULT, Bound, FaultKind, Group, Scene
from xpay_flow.checker.explore import Search
from xpay_flow.checker.hidden import HiddenState
from xpay_flow.checker.own import owned_by
from xpay_flow.checker.promises import promises_of
from xpay_flow.checker.reductions import NONE, Reductions
from xpay_flow.checker.stateless import StatelessBound, StatelessSearch
from xpay_flow.checker.targets import shipped
from xpay_flow.stores.memory import MemoryStore

HEAD = """
import functools, itertools, json
from collections import deque
from types import SimpleNamespace
import attrs
from xpay_flow import flows
from xpay_flow.checker import always, eventually, on_change, sometimes
from xpay_flow.checker.shop import answering
from xpay_flow.effects import commit, due, history, load, now, pause, run_handler
from xpay_flow.endpoints import json_response
from xpay_flow.errors import StoreError
from xpay_flow.payment import payment_of
from xpay_flow.records import change, receipt_alias
from xpay_flow.stores.memory import MemoryStore

class Box:
    n = 0
class Slots:
    __slots__ = ("n",)
    def __init__(self): self.n = 0
@attrs.define
class Data:
    n: int = 0
@attrs.define(unsafe_hash=True)
class Hashed:
    n: int = 0
class Listed(list): ...
class Named(dict): ...
class Shared:
    n = 0
class Lies:
    n = 0
    __class__ = str
GLOBAL = []
COUNT = itertools.count(1)

def up(x):
    x.n = getattr(x, "n", 0) + 1
    return x.n
def grow(x):
    if isinstance(x, (dict,)): x[len(x)] = 1
    elif isinstance(x, set): x.add(len(x))
    else: x.append(1)
    return len(x)
def remember(seen=[]):
    return grow(seen)
@functools.lru_cache
def cached():
    return []
def counter():
    n = 0
    def bump():
        nonlocal n
        n += 1
        return n
    return bump
def numbers():
    n = 0
    while True:
        n += 1
        yield n
def order():
    return (yield from history(receipt_alias("order-42")))[0]
def noted():
    pass
"""

# How often it has been tried: what is set up, and what counts one more and gives the number.
MEMORIES = (
    ("n = [0]", "n.__setitem__(0, n[0] + 1) or n[0]"),
    ("x = []", "grow(x)"),
    ("x = {}", "grow(x)"),
    ("x = set()", "grow(x)"),
    ("x = deque()", "grow(x)"),
    ("x = bytearray()", "grow(x)"),
    ("x = Listed()", "grow(x)"),
    ("x = Named()", "grow(x)"),
    ("x = Box()", "up(x)"),
    ("x = Slots()", "up(x)"),
    ("x = Data()", "up(x)"),
    ("x = Hashed()", "up(x)"),
    ("x = Lies()", "up(x)"),
    ("x = SimpleNamespace()", "up(x)"),
    ("x = KeyError()", "up(x)"),
    ("x = functools.partial(int)", "up(x)"),
    ("x = lambda: None", "up(x)"),
    ("x = type('Here', (), {})", "up(x)"),
    ("x = (0, [])", "grow(x[1])"),
    ("x = counter()", "x()"),
    ("x = numbers()", "next(x)"),
    ("x = itertools.count(1)", "next(x)"),
    ("x = iter([1, 2, 3, 4, 5, 6, 7])", "next(x)"),
    ("x = enumerate('abcdefg', 1)", "next(x)[0]"),
    ("x = map(int, '1234567')", "next(x)"),
    ("x = [].append", "(x(1), len(x.__self__))[1]"),
    ("def x(seen=[]): return grow(seen)", "x()"),
    ("n = 0", "(n := n + 1)"),
)
# The same in memory that outlives the flow.
OUTLIVES = (
    ("x = GLOBAL", "grow(x)"),
    ("x = Shared", "up(x)"),
    ("x = noted", "up(x)"),
    ("x = COUNT", "next(x)"),
    ("x = remember", "x()"),
    ("x = None", "grow(cached())"),
)
LOOPS = (
    "while True:",
    "for _ in itertools.count():",
    "for _ in itertools.repeat(None):",
    "for _ in iter(int, 1):",
    "for _ in range(9):",
    "for _ in [1] * 9:",
    "for _ in (1,) * 9:",
    "for _ in reversed([1] * 9):",
    "for _, _ in zip('123456789', '123456789'):",
    "for _ in {n: n for n in range(9)}:",
    "for _ in (n * 0 for n in range(9)):",
)
# In what the loop stands: its lines are put where the mark is.
AROUND = (
    "LOOP",
    "try:\n    LOOP\nfinally:\n    pass",
    "try:\n    raise KeyError(1)\nexcept KeyError:\n    LOOP",
    "def inner():\n    LOOP\nreturn (yield from inner())",
    "for _ in [1]:\n    LOOP",
)
LOOKS = (
    "found = any(e.event.kind == 'intent.success' for e in (yield from order()).events)",
    "found = any(e.event.kind == 'intent.failed' for e in (yield from order()).events)",
    "found = bool((yield from load(receipt_alias('order-42')))[0].outbox)",
    "found = (yield from order()).version >= 4",
    "found = [e.event.kind for e in (yield from order()).events[-1:]] == ['intent.failed']",
    "try:\n    found = (yield from order()).intent.is_paid\nexcept StoreError:\n    found = False",
    "found = bool((yield from due('deliver', (yield from now()), 9)))",
    "r = yield from order()\nfound = yield from commit(change(r, r))",
    "t = yield from now()\nfound = (yield from order()).outbox[:1] and t % 7_200_000 < 3_600_000",
    "r = yield from order()\nyield from order()\nfound = r.intent.is_paid",
)
DOES = (
    "pass",
    "yield from pause(1)",
    "yield from now()",
    "r = yield from order()\nif not r.intent.is_paid:\n"
    "    yield from run_handler('on_failed', payment_of(r.intent, 'on_failed', '', 'own', ()))",
)
ENDS = (
    "return json_response(200, {})",
    "return json_response(503, {})",
    "return (yield from answering(request, context))",
    "raise KeyError('given up')",
)

WORKERS = (
    "",
    """
def deliver(context):
    for key in (yield from due("deliver", (yield from now()), 10)):
        record = (yield from history(key))[0]
        if [e.event.kind for e in record.events[-1:]] == ["intent.failed"]:
            for entry in record.outbox:
                dropped = record.with_entry(attrs.evolve(entry, status="dropped"))
                yield from commit(change(record, dropped))
                break
            return
    yield from flows.deliver(context)
""",
    """
def deliver(context):
    for key in (yield from due("deliver", (yield from now()), 10)):
        record = (yield from history(key))[0]
        for entry in record.outbox:
            if entry.status == "pending" and record.version % 2:
                paid = payment_of(record.intent, entry.name, entry.subject, entry.id, ())
                yield from run_handler(entry.name, paid)
                done = record.with_entry(attrs.evolve(entry, status="done"))
                yield from commit(change(record, done))
                return
    yield from flows.deliver(context)
""",
    """
def deliver(context):
    if [n for n in range(2) if GLOBAL]:
        return
    GLOBAL.append(1)
    try:
        yield from flows.deliver(context)
    finally:
        GLOBAL.clear()
""",
)
STORES = (
    "",
    '''
class Store(MemoryStore):
    """Gives what is due from the end."""
    def due(self, *asked):
        return tuple(reversed(super().due(*asked)))[:1]
''',
    '''
class Store(MemoryStore):
    """Counts commits that change nothing, where no record shows it, and loses the third."""
    count = 0
    def commit(self, change):
        self.count += 1
        return self.count != 4 and super().commit(change)
    def snapshot(self):
        return super().snapshot(), self.count
    def restore(self, snapshot):
        super().restore(snapshot[0])
        self.count = snapshot[1]
''',
    '''
class Store(MemoryStore):
    """Remembers what `restore` does not put back."""
    count = 0
    def load(self, alias, event=None):
        self.count += 1
        return super().load(alias, event) if self.count % 5 else ()
''',
    '''
class Store(MemoryStore):
    """Changes by a read: the second look at what is due finds nothing."""
    looked = 0
    def due(self, *asked):
        self.looked += 1
        return super().due(*asked) if self.looked != 2 else ()
    def snapshot(self):
        return super().snapshot(), self.looked
    def restore(self, snapshot):
        super().restore(snapshot[0])
        self.looked = snapshot[1]
''',
)
PROMISES = (
    "",
    """
@on_change
def no_bad_news_after_good(before, after):
    told = before.called("on_failed") != after.called("on_failed")
    return not (told and before.called("on_success"))
""",
    """
@always
def paid_is_called_at_once(view):
    return bool(view.called("on_success")) or not any(i.is_paid for i in view.intents)
""",
    """
@always
def failures_come_first(view):
    kinds = [e.event.kind for r in view.records for e in r.events]
    return "intent.success" not in kinds or kinds[-1] == "intent.success"
""",
    """
@always
def few_commits(view):
    return all(r.version < 5 for r in view.records)
""",
    """
@on_change
def answered_before_it_is_called(before, after):
    called = before.called("on_success") != after.called("on_success")
    return not called or all(d == "acknowledged" for _, d in before.outside.events)
""",
    """
@eventually
def failure_is_told(view):
    failed = any("intent.failed" in i.kinds for i in view.intents)
    return not failed or bool(view.called("on_failed"))
""",
    """
@always
def early(view):
    return not view.called("on_success") or view.outside.now_ms < 1_767_605_400_000 + 3_000_000
""",
    """
@always
def remembers(view):
    GLOBAL.append(1)
    return len(GLOBAL) < 9
""",
    """
@sometimes
def told_and_paid(view):
    return bool(view.called("on_failed") and view.really_paid)
""",
)


def scene(name: str, faults: tuple[FaultKind, ...], parties: dict[Group, int]) -> Scene:
    failures = int(parties.get("webhook", 0) > 1 or "worker" in parties)
    return Scene(name=name, parties=parties, faults=frozenset(faults), failures=failures)


SCENES = (
    scene("two", (), {"webhook": 2}),
    scene("failing", ("store",), {"webhook": 2}),
    scene("dying", ("death",), {"webhook": 2}),
    scene("again", ("repeat", "forgery"), {"webhook": 2}),
    scene("worker", (), {"webhook": 1, "worker": 1}),
    scene("late", ("hang",), {"webhook": 1, "worker": 1}),
    scene("workers", ("handler",), {"webhook": 1, "worker": 2}),
)
# Broken by nearly every program, so that nothing else would be seen.
OFTEN_BROKEN = (
    *("handlers_are_called_once", "recorded_once", "events_are_acknowledged"),
    *("never_stuck", "paid_once", "customer_sees_success"),
)


@attrs.frozen
class Program:
    """One program, and the world in which it is searched."""

    source: str
    scene: Scene
    without: tuple[str, ...]

    @property
    def faults(self) -> int:
        return int(bool(self.scene.faults))

    def __str__(self) -> str:
        return f"{self.source}\n# {self.scene.name}, without {self.without}"

    def made(self) -> tuple[Shop, tuple[Own, ...]]:
        """The shop, as in a process that has just begun, and its promises."""
        # A file of the user's, by its name.
        code = compile(HEAD + self.source, str(Path(__file__).with_name("written.py")), "exec")
        module: Any = type(attrs)("written")
        exec(code, vars(module))
        shop = Shop.of(shipped())
        own = {name: vars(module)[name] for name in ("respond", "deliver") if name in vars(module)}
        store = vars(module).get("Store", MemoryStore)()
        return attrs.evolve(shop, store=store, **own), owned_by(module)


def indented(text: str, lines: str) -> str:
    """A text with lines in the place of its mark, as far in as that is."""
    at = next(line for line in text.split("\n") if "LOOP" in line)
    spaces = at[: at.index("LOOP")]
    return text.replace(at, textwrap.indent(lines, spaces))


@st.composite
def webhooks(draw: st.DrawFn) -> str:
    """A webhook of the user's own; nothing stands for ours."""
    if draw(st.integers(0, 4)) == 0:
        return ""
    memory = draw(st.sampled_from(MEMORIES + OUTLIVES[: draw(st.integers(0, 6))]))
    loop, look, does = (draw(st.sampled_from(all_)) for all_ in (LOOPS, LOOKS, DOES))
    most, end = draw(st.integers(1, 2)), draw(st.sampled_from(ENDS))
    return webhook_of(memory, loop, look, does, most, end, draw(st.sampled_from(AROUND)))


def webhook_of(
    memory: tuple[str, str],
    loop: str = LOOPS[0],
    look: str = LOOKS[0],
    does: str = DOES[0],
    most: int = 2,
    end: str = ENDS[0],
    around: str = AROUND[0],
) -> str:
    """The source of one webhook."""
    setup, counts = memory
    body = "\n".join(
        [
            f"if ({counts}) > {most}:",
            textwrap.indent(end, "    "),
            look,
            "if found:",
            "    return (yield from answering(request, context))",
            does,
        ]
    )
    # All names have a value from the first round on, so that nothing but the count differs.
    names = "found, r, t = False, None, None"
    looped = "\n".join([names, setup, loop, textwrap.indent(body, "    ")])
    return (
        "def respond(request, context):\n"
        "    if request.path != '/webhook':\n"
        "        return (yield from answering(request, context))\n"
        + textwrap.indent(indented(around, looped), "    ")
        + "\n"
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A program, with something of the user's in it."""
    webhook = draw(webhooks())
    worker, store, promise = (
        draw(st.one_of(st.just(""), st.sampled_from(all_))) for all_ in (WORKERS, STORES, PROMISES)
    )
    where = draw(st.sampled_from(SCENES))
    without = draw(st.sampled_from(((), OFTEN_BROKEN, OFTEN_BROKEN)))
    return Program(webhook + worker + store + promise, where, tuple(without))


@attrs.frozen
class Found:
    """What one search has shown."""

    verdict: str
    faults: int = -1
    outcomes: frozenset[str] = frozenset()


REFUSED = Found("REFUSED")
UNFINISHED = Found("UNFINISHED")
TRANSITIONS_MAX = 12_000


def searched(program: Program, reductions: Reductions) -> Found:
    """What the search with these reductions shows."""
    shop, own = program.made()
    made = shop.shortened(program.faults).watched()
    bound = attrs.evolve(
        DEFAULT,
        faults=program.faults,
        scenes=(program.scene,),
        transitions_max=TRANSITIONS_MAX,
        seconds_max=20,
    )
    try:
        promises = promises_of(program.scene, own, program.without)
        search = Search(made, program.scene, bound, reductions=reductions, promises=promises)
        found = search.run()
        outcomes = frozenset(map(in_order, search.outcomes()))
    except HiddenState:
        return REFUSED
    if found.verdict == "UNFINISHED":
        return UNFINISHED
    if found.violation is not None:
        return Found("VIOLATED", found.violation.faults)
    hopes = {promise.name for promise in own if promise.when == "sometimes"}
    return Found("VIOLATED" if hopes - found.hoped else "EXHAUSTED", -1, outcomes)


def without_memory(program: Program) -> Found:
    """What executions from an empty store show."""
    shop, own = program.made()
    made = shop.shortened(program.faults).watched()
    empty = made.store.snapshot()
    bound: Bound = StatelessBound(
        faults=program.faults,
        flows_max=2,
        scenes=(program.scene,),
        seconds_max=1,
    )
    search = StatelessSearch(
        made,
        program.scene,
        bound,
        lambda: made.store,
        lambda: made.store.restore(empty),
        promises=promises_of(program.scene, own, (*program.without, *OFTEN_BROKEN)),
    )
    try:
        found = search.run()
    except HiddenState:
        return REFUSED
    finally:
        search.close()
    if found.verdict != "EXHAUSTED":
        return UNFINISHED
    return Found("EXHAUSTED", -1, frozenset(map(in_order, search.outcomes())))


def in_order(value: object) -> str:
    """Outcomes as text, with sets in order."""
    if isinstance(value, frozenset | set):
        return "{" + ", ".join(sorted(map(in_order, value))) + "}"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(in_order, value)) + ")"
    if attrs.has(type(value)):
        names = [field.name for field in attrs.fields(type(value)) if field.repr]
        return "(" + ", ".join(in_order(getattr(value, name)) for name in names) + ")"
    return repr(value)


NAMES = tuple(field.name for field in attrs.fields(Reductions))


def configurations(program: Program) -> Iterator[tuple[str, Reductions]]:
    """All reductions, each one off, and none; those once that are the same for this program."""
    shop, own = program.made()
    permitted = Reductions().permitted(
        own_flows=bool(shop.own_parties),
        own_store=shop.own_store,
        own_promises=bool(own),
        looks_further=False,
    )
    yield "all", Reductions()
    for name in NAMES:
        if getattr(permitted, name):
            yield f"without {name}", attrs.evolve(Reductions(), **{name: False})
    yield "none", NONE


def disagreement(program: Program, *, each: bool = True, stateless: bool = True) -> str | None:
    """Where two searches of a program differ; None if none do."""
    with_all = searched(program, Reductions())
    if with_all == UNFINISHED:
        return None
    others: list[tuple[str, Callable[[], Found]]] = [
        (name, lambda reductions=reductions: searched(program, reductions))
        for name, reductions in configurations(program)
        if name != "all" and (each or name == "none")
    ]
    for name, search in others[::-1]:
        found = search()
        if found == UNFINISHED:
            if each:
                continue
            return None
        if found != with_all:
            return f"all: {brief(with_all)}; {name}: {brief(found)}"
    if stateless and with_all.verdict == "EXHAUSTED" and "class Store" not in program.source:
        found = without_memory(program)
        if found.verdict == "EXHAUSTED" and not found.outcomes <= with_all.outcomes:
            return f"all: {brief(with_all)}; stateless: {brief(found)}"
    return None


def brief(found: Found) -> str:
    return f"{found.verdict} {found.faults} {len(found.outcomes)} outcomes"
