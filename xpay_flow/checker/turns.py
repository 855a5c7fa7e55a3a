"""What can one flow do in one turn, and what can go wrong with it?

A turn is any number of reads and then one effect that others can see. Others come between turns and
not within: a read may be put off to just before that effect, unless another step changes its answer
meanwhile, or the time that the flow reads after it. For that case a flow has a stale read: it has
read, another takes a step, and it goes on with what it has read (see `Turns.stale_read`). Nothing
between two changes leaves a trace, so to die is to die right after a change.

What that needs to be true (`Reductions.turns`): a read changes nothing and shows to no promise, and
a flow depends on nothing but the answers to its effects. Both are so for any flow: what a store
changes by a read counts as a write, and hidden state is refused. That a flow has begun shows
where something happens with it, and where time may pass over it: there it is a turn of its own.

More is one turn where flows and store are ours (`Reductions.ends`), and no promise sees who is at
work, or which delivery is acknowledged:

- A flow begins with its first turn, and ends with the effect before its end; where its reads are
  stale, its end came as well before the write that made them so.
- A commit that expects a version that is gone changes nothing, now or later, so it may be made at
  once. It needs a store that keeps to the contract.
- No read of ours fails and is then made again; no flow of ours depends on a time that it
  reads before another step and commits after it.

And where no promise is the user's (`Reductions.calls`): a handler is called with the write before
it; after stale reads, a handler's call or a request came as well before the write that made them
so. It needs promises that see no moment between the two, and make no difference between the orders.

Everything is worked out once for each different situation and then looked up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from xpay_flow.effects import Commit, Due, History, Load, Ran, Recent, RunHandler, RunInTransaction
from xpay_flow.errors import StoreUnavailable, XPayFlowError
from xpay_flow.flows import Checkout

from .bounds import FaultKind, Scene
from .contents import Answered, Contents, Raised
from .histories import Histories, Node
from .outside import Happening
from .shared_state import SharedState
from .shop import Shop
from .story import HANDLER_FAILED, LOST, How, Step

READS = (Load, History, Due, Recent)
# A party waits for the end of these.
AWAITED = ("click", "webhook")
# More reads in a row than these are a flow that waits for others: they come between then.
READS_MAX = 12


@attrs.frozen
class Turn:
    """What one task did.

    Args:
        content: the store's contents afterwards.
        happens: what happened to the world by it.
        joined: the task as it is afterwards, and who began meanwhile; empty once it has ended.
        steps: the turn in detail; `early` are those that another's write has made stale.
        changed: something durable or external was done.
        died: the task is dead.
        cost: its price in faults.
    """

    content: int
    happens: tuple[Happening, ...]
    joined: tuple[int, ...]
    steps: tuple[Step, ...]
    early: tuple[Step, ...] = ()
    changed: bool = False
    died: bool = False
    cost: int = 0


@attrs.frozen
class _Begun:
    """A turn that is under way: where it has come to."""

    content: int
    node: Node
    now_ms: int
    budget: int
    steps: tuple[Step, ...] = ()
    happens: tuple[Happening, ...] = ()
    changed: bool = False
    cost: int = 0

    def then(
        self, node: Node, step: Step, content: int | None = None, *happens: Happening
    ) -> _Begun:
        after = self.content if content is None else content
        changed = self.changed or after != self.content or bool(happens)
        steps, did = (*self.steps, step), (*self.happens, *happens)
        fault = step.fault is not None
        budget, cost = self.budget - fault, self.cost + fault
        return _Begun(after, node, self.now_ms, budget, steps, did, changed, cost)

    def turn(self, *joined: int, died: bool = False) -> Turn:
        return Turn(
            self.content,
            self.happens,
            joined,
            self.steps,
            changed=self.changed,
            died=died,
            cost=self.cost + died,
        )


class Turns:
    """The turns of all flows in one scene.

    Args:
        whole: reads are in one turn with what follows; if not, each effect is a turn of its own.
        ends, calls: more is, as described above.
        faults: the most that can happen at all.
        shared: what runs of the user's flows share.
    """

    def __init__(
        self,
        shop: Shop,
        scene: Scene,
        contents: Contents,
        histories: Histories,
        *,
        whole: bool,
        ends: bool,
        calls: bool,
        faults: int,
        shared: SharedState | None = None,
    ) -> None:
        self._shop, self._scene, self._contents = shop, scene, contents
        self._histories, self._whole, self._faults = histories, whole, faults
        self._shared = shared
        self._ends_join = ends and whole
        self._calls_join = calls and self._ends_join
        self._ends: dict[tuple[Any, ...], Node] = {}
        self._ran: dict[tuple[str, str], Ran] = {}
        self._op_keys: dict[int, int] = {}
        self._found: dict[tuple[int, int, int], tuple[int, tuple[Turn, ...]]] = {}
        self._stale_reads: dict[tuple[int, ...], tuple[Turn, ...]] = {}

    def of(self, content: int, number: int, now_ms: int, budget: int) -> tuple[Turn, ...]:
        """Every turn of a task, with up to `budget` faults; none if it waits for xPay."""
        key = (content, number, now_ms)
        found = self._found.get(key)
        if found is None or found[0] < budget:
            begun = _Begun(content, self._histories.nodes[number], now_ms, budget)
            found = self._found[key] = (budget, tuple(self._on(begun)))
        return found[1]

    def stale_read(
        self, before: int, after: int, number: int, now_ms: int, later_ms: int
    ) -> tuple[Turn, ...]:
        """How a task goes on that had read from `before` when a step made `after` of it.

        Only where it makes a difference: elsewhere the read might as well have come after, or
        the whole turn before.

        Args:
            now_ms, later_ms: the time before and after the step.
        """
        key = (before, after, number, now_ms, later_ms)
        found = self._stale_reads.get(key)
        if found is None:
            node = self._histories.nodes[number]
            if self._ends_join:
                turns = self._late(_Begun(before, node, now_ms, 0), after)
            else:
                turns = self._had_read(_Begun(before, node, now_ms, self._faults), after, later_ms)
            found = self._stale_reads[key] = tuple(turns)
        return found

    def answered(
        self, content: int, number: int, now_ms: int, budget: int, *, changed: bool
    ) -> tuple[Turn, ...]:
        """How a turn goes on whose one step was answered by xPay: it dies, rests or ends.

        Args:
            changed: the request did something at xPay.
        """
        node = self._histories.nodes[number]
        begun = _Begun(content, node, now_ms, budget, changed=changed)
        return tuple(self._after(begun, rests=True))

    def rest(self, node: Node) -> int:
        """The number by which a resting task is known: tasks that ended alike are alike."""
        if node.op is not None:
            return node.id
        return self._ends.setdefault((node.kind, outcome(node), crash(node)), node).id

    # --- reads -------------------------------------------------------------------------------

    def _on(self, begun: _Begun) -> Iterator[Turn]:
        op = begun.node.op
        if isinstance(op, READS):
            yield from self._read(begun)
        elif isinstance(op, Commit | RunInTransaction):
            yield from self._committed(begun)
        elif isinstance(op, RunHandler):
            yield from self._called(begun)
        elif op is None:
            yield from self._ended(begun)
        elif begun.steps:
            yield begun.turn(self.rest(begun.node))

    def _read(self, begun: _Begun) -> Iterator[Turn]:
        done = self._answer(begun.content, begun.node)
        if done.content != begun.content:
            # By a store of the user's own.
            yield from self._committed(begun)
            return
        read = self._with(begun, done.key, done.value)
        if not self._whole or len(read.steps) > READS_MAX:
            yield from self._rests(read)
        else:
            yield from self._on(read)
        if self._can(begun, "store"):
            fails = self._with(begun, LOST, _lost(), how="not applied", fault="store")
            yield from self._on(fails) if self._whole else self._rests(fails)

    def _had_read(self, begun: _Begun, after: int, later_ms: int) -> Iterator[Turn]:
        """The task rests after each read whose answer, or the time after it, is no longer so."""
        if not isinstance(begun.node.op, READS) or len(begun.steps) > READS_MAX:
            return
        done, then = self._answer(begun.content, begun.node), self._answer(after, begun.node)
        if done.content != begun.content:
            return
        ways: list[tuple[Any, Any, How, FaultKind | None]] = [(done.key, done.value, "done", None)]
        if self._can(begun, "store"):
            ways.append((LOST, _lost(), "not applied", "store"))
        for key, value, how, fault in ways:
            read = self._with(begun, key, value, how=how, fault=fault)
            later = self._histories.step(begun.node, key, value, later_ms)
            stale = read.node is not later or (fault is None and then.key != done.key)
            if stale:
                late = attrs.evolve(read, content=after, steps=())
                yield attrs.evolve(late.turn(self.rest(read.node)), early=read.steps)
            yield from self._had_read(read, after, later_ms)

    def _late(self, begun: _Begun, after: int) -> Iterator[Turn]:
        while isinstance(begun.node.op, READS) and len(begun.steps) <= READS_MAX:
            done = self._answer(begun.content, begun.node)
            differs = self._answer(after, begun.node).key != done.key
            begun = self._with(begun, done.key, done.value)
            if differs:
                yield from self._stale_read_at(begun, after)

    def _stale_read_at(self, read: _Begun, after: int) -> Iterator[Turn]:
        """It has read what is no longer so, and is about to do something else."""
        node = read.node
        late = _Begun(after, node, read.now_ms, 0)
        if isinstance(node.op, READS):
            turns: Iterator[Turn] = iter([late.turn(self.rest(node))])
        elif isinstance(node.op, Commit | RunInTransaction):
            turns = self._lost_race(late)
        elif node.op is None or self._calls_join:
            # To end, to call a handler or to call xPay came as well before the other's write.
            return
        else:
            turns = iter([late.turn(self.rest(node))])
        for turn in turns:
            yield attrs.evolve(turn, early=read.steps)

    def _lost_race(self, late: _Begun) -> Iterator[Turn]:
        done = self._answer(late.content, late.node)
        if done.content != late.content:
            # No other flow has touched what it writes: it wins, whenever it comes to it.
            yield late.turn(self.rest(late.node))
        else:
            key, answer, _ = _written(late.node.op, done)
            yield from self._after(self._with(late, key, answer))

    # --- writes ------------------------------------------------------------------------------

    def _committed(self, begun: _Begun) -> Iterator[Turn]:
        done = self._answer(begun.content, begun.node)
        key, answer, happens = _written(begun.node.op, done)
        yield from self._after(self._with(begun, key, answer, done.content, *happens))
        if isinstance(begun.node.op, RunInTransaction):
            yield from self._failed(begun)
        if not self._can(begun, "store"):
            return
        fails = self._with(begun, LOST, _lost(), how="not applied", fault="store")
        yield from self._after(fails)
        if done.content != begun.content:
            yield from self._after(
                self._with(
                    begun, LOST, _lost(), done.content, *happens, how="applied", fault="store"
                )
            )

    def _called(self, begun: _Begun) -> Iterator[Turn]:
        op = begun.node.op
        # Tried first, while nothing is there of an earlier call.
        why = self._why_unrepeatable(op)
        ran = self._really_ran(op)
        called = ("called", op.name, op.payment.idempotency_key)
        happens: list[Happening] = [called] if ran.outcome == "done" else []
        if happens and why:
            happens.append(("unrepeatable", why))
        yield from self._after(self._with(begun, repr(ran), ran, None, *happens))
        yield from self._failed(begun)

    def _failed(self, begun: _Begun) -> Iterator[Turn]:
        """The handler fails, and has written nothing."""
        if self._can(begun, "handler"):
            failed = Ran("failed", HANDLER_FAILED)
            on = self._with(begun, repr(failed), failed, how="not applied", fault="handler")
            yield from self._after(on)

    def _why_unrepeatable(self, op: RunHandler) -> str:
        why = self._shop.unrepeatable(op)
        if self._shared is not None:
            self._shared.note()
        return why

    def _really_ran(self, op: RunHandler) -> Ran:
        key = (op.name, repr(op.payment))
        if key not in self._ran:
            self._ran[key] = self._shop.ran(op)
            if self._shared is not None:
                # What a handler has is its own affair.
                self._shared.note()
        return self._ran[key]

    def _after(self, begun: _Begun, *, rests: bool = False) -> Iterator[Turn]:
        """A write is done: now it may die, end, call a handler, or let others come."""
        node = begun.node
        if begun.changed and self._can(begun, "death"):
            yield self._dead(begun)
        if isinstance(node.op, RunHandler) and self._calls_join and not rests:
            yield from self._called(begun)
        else:
            yield from self._rests(begun)

    def _rests(self, begun: _Begun) -> Iterator[Turn]:
        """Others may come, unless it has ended and nothing waits for that."""
        node = begun.node
        if node.op is None and (self._ends_join or node.kind.group not in AWAITED):
            yield from self._ended(begun)
        else:
            yield begun.turn(self.rest(node))

    def _dead(self, begun: _Begun) -> Turn:
        kind = begun.node.kind
        step = Step(
            what="dies",
            kind=kind,
            before=self.rest(begun.node),
            note=f"{kind.name} dies",
            fault="death",
        )
        return attrs.evolve(begun, steps=(*begun.steps, step)).turn(died=True)

    # --- the end -----------------------------------------------------------------------------

    def _ended(self, begun: _Begun) -> Iterator[Turn]:
        """The waiting party receives the end: xPay its answer, the customer the address.

        Or none waits any more: xPay, which has waited for long enough and sends it again, or the
        customer, who has left. That is no fault.
        """
        node = begun.node
        end = outcome(node)
        step = Step(what="ends", kind=node.kind, before=self.rest(node), answer=end, note=f"{end}")
        received = tuple(ending(node))
        yield self._end(begun, step, received)
        lost = tuple(ending(node, received=False))
        if lost != received:
            yield self._end(begun, attrs.evolve(step, how="not applied"), lost)

    def _end(self, begun: _Begun, step: Step, happens: tuple[Happening, ...]) -> Turn:
        done = attrs.evolve(
            begun,
            steps=(*begun.steps, step),
            happens=(*begun.happens, *happens),
            changed=begun.changed or bool(happens),
        )
        return done.turn()

    # --- one step ----------------------------------------------------------------------------

    def _can(self, begun: _Begun, fault: FaultKind) -> bool:
        return begun.budget > 0 and fault in self._scene.faults

    def _answer(self, content: int, node: Node) -> Answered:
        key = self._op_keys.get(node.id)
        if key is None:
            key = self._op_keys[node.id] = self._contents.key_of(_stored(node.op))
        return self._contents.perform(content, _stored(node.op), key)

    def _with(
        self,
        begun: _Begun,
        key: Any,
        answer: Any,
        content: int | None = None,
        *happens: Happening,
        how: How = "done",
        fault: FaultKind | None = None,
    ) -> _Begun:
        """The turn one step on."""
        node = begun.node
        child = self._histories.step(node, key, answer, begun.now_ms)
        step = Step(
            what="does",
            kind=node.kind,
            before=self.rest(node),
            after=self.rest(child),
            op=node.op,
            answer=answer,
            how=how,
            fault=fault,
        )
        return begun.then(child, step, content, *happens)


def _stored(op: Any) -> Any:
    """The operation for the store: of a handler within its transaction, the record's change."""
    return Commit(op.change) if isinstance(op, RunInTransaction) else op


def _written(op: Any, done: Answered) -> tuple[Any, Any, tuple[Happening, ...]]:
    """The answer to a write, what stands for it, and what else happened with it."""
    if not isinstance(op, RunInTransaction):
        return done.key, done.value, ()
    if not done.value:
        return "lost", Ran("lost"), ()
    return "done", Ran("done"), (("called", op.name, op.payment.idempotency_key),)


def _lost() -> Raised:
    return Raised(StoreUnavailable(LOST))


def ending(node: Node, *, received: bool = True) -> Iterator[Happening]:
    """What happens to the world when a task has ended like this.

    Args:
        received: the party that waits for the end still does.
    """
    if (error := crash(node)) is not None:
        yield ("crashed", error)
    if not received:
        return
    if node.kind.group == "webhook" and outcome(node) == 200:
        yield ("delivery", node.kind.subject, "acknowledged")
    elif isinstance(node.result, Checkout) and node.result.x_intent_id:
        yield ("reachable", int(node.result.x_intent_id.removeprefix("in_")))


def crash(node: Node) -> str | None:
    """An error that is none of ours, or any that our endpoint lets out."""
    error = node.result.error if isinstance(node.result, Raised) else None
    if (
        error is None
        or node.kind.own
        or (isinstance(error, XPayFlowError) and node.kind.group != "webhook")
    ):
        return None
    return f"{node.kind.name}: {type(error).__name__}: {error}"


def outcome(node: Node) -> Any:
    """How a task ended, as seen from outside."""
    result = node.result
    if isinstance(result, Raised):
        name = type(result.error).__name__
        return f"500, {name}: {result.error}" if node.kind.own else name
    return result if isinstance(result, Checkout) else getattr(result, "status", None)
