"""What can a running task do next, and what can go wrong with it?

Everything is worked out once for each different situation and then looked up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from xpay_flow.effects import Commit, Exchange, Load, Ran, RunHandler
from xpay_flow.errors import StoreUnavailable, XPayFlowError
from xpay_flow.flows import Checkout
from xpay_flow.ports import NoAnswer

from . import outside as world
from .bounds import FaultKind, Scene
from .contents import Contents, Raised
from .histories import Histories, Node
from .outside import Outside
from .shop import Shop
from .story import HANDLER_FAILED, LOST, NO_ANSWER, How, Step


@attrs.frozen
class Move:
    """A way on: the steps it takes, and where it leads. `node` is None when the task is gone."""

    content: int
    outside: int
    node: int | None
    steps: tuple[Step, ...]

    @property
    def cost(self) -> int:
        """Its price in faults."""
        return sum(step.fault is not None for step in self.steps)


class TaskMoves:
    """What running tasks can do in one scene, looked up by number.

    Args:
        fused: take a flow's first read with its start, and a handler's call with the read before
            it. The start and the read are seen by nobody, so to delay the start to just before
            the read loses nothing. A handler's call changes nothing that another flow reads, so it
            commutes with every step of others and may come first; to die before it is to die after
            the commit before it. Turned off in a test that compares.
    """

    def __init__(self, shop: Shop, scene: Scene, contents: Contents, *, fused: bool) -> None:
        self._scene, self._contents, self._fused = scene, contents, fused
        self.shop = shop
        self.histories = Histories()
        self.outsides: list[Outside] = []
        self._outside_numbers: dict[Outside, int] = {}
        self._ends: dict[tuple[Any, Any], Node] = {}
        self._ran: dict[tuple[str, str], Ran] = {}
        self._node_keys: dict[int, int] = {}
        self.fired: set[FaultKind] = set()

    def number(self, outside: Outside) -> int:
        """The number of a world; equal worlds have one."""
        number = self._outside_numbers.setdefault(outside, len(self.outsides))
        if number == len(self.outsides):
            self.outsides.append(outside)
        return number

    def group(self, node: int) -> str:
        """Which party a task belongs to, for the bounds on how many run at once."""
        return self.histories.nodes[node].kind.group

    def is_fresh(self, node: int) -> bool:
        """Dying now differs from having died earlier."""
        return self.histories.nodes[node].fresh

    def allows(self, fault: FaultKind) -> bool:
        return fault in self._scene.faults

    # --- one running task --------------------------------------------------------------------

    def of_task(self, content: int, outside: int, number: int) -> tuple[Move, ...]:
        """What one task can do, and what can go wrong with it."""
        node = self.histories.nodes[number]
        found = [
            on for move in self._forward(content, outside, node) for on in self._with_call(move)
        ]
        if node.fresh and self.allows("death"):
            note = f"{node.kind.name} dies"
            step = Step(what="dies", kind=node.kind, before=number, note=note, fault="death")
            found.append(Move(content, outside, None, (step,)))
        self.fired.update(step.fault for move in found for step in move.steps if step.fault)
        return tuple(found)

    def _with_call(self, move: Move) -> Iterator[Move]:
        node = None if move.node is None else self.histories.nodes[move.node]
        if (
            node is None
            or not self._fused
            or not isinstance(node.op, RunHandler)
            or not isinstance(move.steps[-1].op, Load)
        ):
            yield move
            return
        for called in self._forward(move.content, move.outside, node):
            yield attrs.evolve(called, steps=(*move.steps, *called.steps))

    def _forward(self, content: int, outside: int, node: Node) -> Iterator[Move]:
        now = self.outsides[outside]
        if node.op is None:
            yield self._ended(content, now, node)
        elif isinstance(node.op, Exchange):
            yield from self._exchanged(content, now, node, node.op)
        elif isinstance(node.op, RunHandler):
            yield from self._handled(content, now, node, node.op)
        else:
            yield from self.stored(content, now, node)

    def stored(self, content: int, now: Outside, node: Node) -> Iterator[Move]:
        done = self._contents.perform(content, node.op, self._op_key(node))
        writes = done.content != content
        yield self._on(node, done.key, done.value, done.content, now, "done", fresh=writes)
        if not isinstance(node.op, Commit) or not self.allows("store"):
            return
        lost = Raised(StoreUnavailable(LOST))
        yield self._on(node, LOST, lost, content, now, "not applied", "store")
        if writes:
            yield self._on(node, LOST, lost, done.content, now, "applied", "store", fresh=True)

    def _op_key(self, node: Node) -> int:
        key = self._node_keys.get(node.id)
        if key is None:
            key = self._node_keys[node.id] = self._contents.key_of(node.op)
        return key

    def _exchanged(self, content: int, now: Outside, node: Node, op: Exchange) -> Iterator[Move]:
        response, after = world.answer(now, op.request)
        key = (response.status, response.body)
        yield self._on(node, key, response, content, after, "done", fresh=after != now)
        if not self.allows("silence"):
            return
        silence = NoAnswer(NO_ANSWER)
        yield self._on(node, NO_ANSWER, silence, content, now, "not applied", "silence")
        if after != now:
            yield self._on(
                node, NO_ANSWER, silence, content, after, "applied", "silence", fresh=True
            )

    def _handled(self, content: int, now: Outside, node: Node, op: RunHandler) -> Iterator[Move]:
        key = (op.name, repr(op.payment))
        if key not in self._ran:
            self._ran[key] = self.shop.ran(op)
        ran = self._ran[key]
        after = now.with_call(op.name, op.payment) if ran.outcome == "done" else now
        yield self._on(node, ran, ran, content, after, "done", fresh=True)
        if self.allows("handler"):
            failed = Ran("failed", HANDLER_FAILED)
            yield self._on(node, failed, failed, content, now, "not applied", "handler")

    def _on(
        self,
        node: Node,
        key: Any,
        answer: Any,
        content: int,
        after: Outside,
        how: How,
        fault: FaultKind | None = None,
        *,
        fresh: bool = False,
    ) -> Move:
        """The task goes on with an answer."""
        child = self.histories.step(node, key, answer, after.now_ms, fresh=fresh)
        after = with_crash(after, child)
        left = self.left(child)
        step = Step(
            what="does",
            kind=node.kind,
            before=node.id,
            after=left,
            op=node.op,
            answer=answer,
            how=how,
            fault=fault,
        )
        return Move(content, self.number(after), left, (step,))

    def left(self, node: Node) -> int | None:
        """Tasks that ended alike are alike; one whose end nobody waits for is gone."""
        if node.op is not None:
            return node.id
        if node.kind.group not in ("click", "webhook"):
            return None
        return self._ends.setdefault((node.kind, outcome(node.result)), node).id

    def _ended(self, content: int, now: Outside, node: Node) -> Move:
        """Whoever waits for the end hears of it: xPay its answer, the customer the address."""
        end, after = outcome(node.result), now
        if node.kind.group == "webhook" and end == 200:
            after = now.told(node.kind.subject, "acknowledged")
        elif isinstance(node.result, Checkout) and node.result.x_intent_id:
            number = int(node.result.x_intent_id.removeprefix("in_"))
            after = now.with_intent(attrs.evolve(now.intent(number), reachable=True))
        step = Step(
            what="ends", kind=node.kind, before=node.id, answer=end, outside=after, note=f"{end}"
        )
        return Move(content, self.number(after), None, (step,))


def with_crash(after: Outside, node: Node) -> Outside:
    """The world remembers an error that is none of ours, or any that an endpoint lets out."""
    error = node.result.error if isinstance(node.result, Raised) else None
    if error is None or (isinstance(error, XPayFlowError) and node.kind.group != "webhook"):
        return after
    return attrs.evolve(after, crashed=f"{node.kind.name}: {type(error).__name__}: {error}")


def outcome(result: Any) -> Any:
    """How a task ended, as far as anybody outside can tell."""
    if isinstance(result, Raised):
        return type(result.error).__name__
    return result if isinstance(result, Checkout) else getattr(result, "status", None)
