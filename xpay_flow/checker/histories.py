"""What can a flow do next? Real code, run once for each different past.

A flow is a deterministic function of the answers to its effects. So everything it can ever do is a
tree: a node is a past, and its edges are the answers that the next effect may get. The tree is
grown by running the real generator, and walked without running anything. Pasts after which a flow
goes on alike are one node: see `fingerprint`. That is why a search of a hundred thousand states
runs the flow far less often.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import attrs

from xpay_flow.effects import (
    AcquireRateLimit,
    Commit,
    Count,
    Due,
    EnterPlace,
    Exchange,
    History,
    HoldRequests,
    LeavePlace,
    LeaveRateLimit,
    Load,
    NewId,
    Now,
    Pause,
    Recent,
    RunInTransaction,
    WaitForChange,
)

from .bounds import Group
from .contents import Raised
from .fingerprint import fingerprint, value_fingerprint
from .hidden import HiddenState as HiddenState
from .oversight import Oversight
from .shared_state import SharedState
from .shop import AnyFlow

# A step that needs no other party is taken together with the one before it. More of them in a row
# than this is a loop that waits for something that cannot happen here.
SILENT_MAX = 1000
# No other party sees these.
_SILENT = (
    Now
    | NewId
    | AcquireRateLimit
    | LeaveRateLimit
    | HoldRequests
    | Pause
    | Count
    | WaitForChange
    | EnterPlace
    | LeavePlace
)
# Pasts that are run again at the end of a search.
AUDITED_MAX = 500


@attrs.frozen(eq=False)
class Kind:
    """A kind of task: its name in stories, its group, and how to make a flow of it.

    Args:
        subject: what it is about, such as an event; tasks of one kind are interchangeable.
        own: an endpoint of the user's own: what it raises is answered 500, as by every framework.
    """

    name: str
    group: Group
    make: Callable[[], AnyFlow] = attrs.field(repr=False)
    subject: Any = None
    own: bool = False


@attrs.define(eq=False)
class Node:
    """One past of one kind of task.

    Args:
        op: the effect that waits to be performed; None at the end.
        result: what the flow returned, or a `Raised`, at the end.
        clock: the step that led here read the clock: only then does the time distinguish pasts.
        named: how many names this flow was given.
        resting: flows that wait here, each with the past that it has really had.
    """

    kind: Kind
    parent: Node | None
    answer: Any
    now_ms: int
    named: int = 0
    id: int = 0
    op: Any = None
    result: Any = None
    clock: bool = False
    resting: list[tuple[Node, AnyFlow]] = attrs.Factory(list[Any])
    untimed: dict[Hashable, Node] = attrs.Factory(dict[Hashable, "Node"])
    timed: dict[tuple[Hashable, int], Node] = attrs.Factory(dict[tuple[Hashable, int], "Node"])


class Histories:
    """The trees of all kinds of tasks.

    Args:
        merging: pasts that left a flow in the same rest are one.
        essence: records count as alike where our flows make no difference.
        oversight: entered while code under check runs.
        shared: what runs of that code share, and may not change.
    """

    def __init__(
        self,
        *,
        merging: bool = True,
        essence: bool = True,
        oversight: Oversight | None = None,
        shared: SharedState | None = None,
    ) -> None:
        self._shared = shared
        self._merging, self._essence, self._oversight = merging, essence, oversight
        self.nodes: list[Node] = []
        self.resumptions = 0
        self._roots: dict[tuple[Kind, int | None], Node] = {}
        self._rests: dict[Hashable, Node] = {}

    def start(self, kind: Kind, now_ms: int) -> Node:
        """The node of a task that has just begun and waits for its first effect."""
        node = self._roots.get((kind, None)) or self._roots.get((kind, now_ms))
        if node is None:
            node = Node(kind, None, None, now_ms)
            root, node = node, self._grown(node, kind.make())
            self._roots[kind, now_ms if root.clock else None] = node
        return node

    def step(self, node: Node, key: Hashable, answer: Any, now_ms: int) -> Node:
        """The node after `answer`; `key` stands for the answer and is cheap to compare."""
        child = node.untimed.get(key) or node.timed.get((key, now_ms))
        if child is None:
            past, generator = node.resting.pop() if node.resting else (node, self._replayed(node))
            new = Node(node.kind, past, answer, now_ms, node.named)
            child = self._grown(new, generator)
            if new.clock:
                node.timed[key, now_ms] = child
            else:
                node.untimed[key] = child
        return child

    def forget(self) -> None:
        """Let go of all nodes: they refer to each other, so without a collector none would go."""
        for node in self.nodes:
            node.untimed.clear()
            node.timed.clear()
            node.resting.clear()

    def _grown(self, node: Node, generator: AnyFlow) -> Node:
        """The node to which a flow has come now, or the first from which it goes on alike."""
        self._advance(node, generator)
        if node.op is not None:
            alike = self._alike(node, generator)
            # One flow more that rests there, so one answer more that needs no run from the start.
            alike.resting.append((node, generator))
            if alike is not node:
                return alike
        node.id = len(self.nodes)
        self.nodes.append(node)
        return node

    def _alike(self, node: Node, generator: AnyFlow) -> Node:
        """The first node from which a flow goes on as it does from this one."""
        if not self._merging or isinstance(node.op, Commit | RunInTransaction):
            # A flow that is about to commit has most of its past in its hands.
            return node
        rest, effect = fingerprint(generator, essence=self._essence), _effect_key(node.op)
        if rest is None or effect is None:
            return node
        return self._rests.setdefault((node.kind, node.named, effect, rest), node)

    def _advance(self, node: Node, generator: AnyFlow) -> None:
        self.resumptions += 1
        if self._oversight is None:
            advance(node, generator)
        else:
            with self._oversight:
                advance(node, generator)
        if self._shared is not None:
            self._shared.refuse_changes(node.kind.name)

    def audit(self) -> int:
        """Run pasts again, from their beginning, after everything else has run.

        What they take from memory that the search does not see has had time to become another.

        Returns:
            How many pasts were run again.

        Raises:
            HiddenState: one goes on otherwise than at first.
        """
        again = self.nodes[:: len(self.nodes) // AUDITED_MAX + 1]
        for node in again:
            self._replayed(node).close()
        return len(again)

    def _replayed(self, node: Node) -> AnyFlow:
        """A fresh flow brought to `node`, which must yield the same effects on its way."""
        path = [node]
        while path[-1].parent is not None:
            path.append(path[-1].parent)
        generator = node.kind.make()
        for past in reversed(path):
            named = past.parent.named if past.parent else 0
            again = Node(past.kind, past.parent, past.answer, past.now_ms, named=named)
            self._advance(again, generator)
            if again.op != past.op:
                raise HiddenState(
                    f"{node.kind.name} yielded {past.op!r} at first, and {again.op!r} "
                    "when run again with the same answers"
                )
            if _end_in_words(again) != _end_in_words(past):
                raise HiddenState(
                    f"{node.kind.name} ended with {past.result!r} at first, and with "
                    f"{again.result!r} when run again with the same answers"
                )
        return generator


def _end_in_words(node: Node) -> str:
    """How a flow ended, to compare."""
    error = node.result.error if isinstance(node.result, Raised) else None
    return f"{type(error).__name__}: {error}" if error is not None else repr(node.result)


def _effect_key(op: Any) -> Hashable | None:
    """What stands for the effect that a flow waits for; None if that cannot be known."""
    if isinstance(op, Exchange):
        request = op.request
        return request.method, request.url, tuple(request.headers.items()), request.body
    return op if isinstance(op, Load | History | Due | Recent) else value_fingerprint(op)


def advance(node: Node, generator: AnyFlow) -> None:
    """Resume the flow with the node's answer, up to the next effect that others can see."""
    answer = node.answer
    try:
        effect = _resumed(generator, answer)
        for _ in range(SILENT_MAX):
            if not isinstance(effect, _SILENT):
                node.op = effect
                return
            effect = generator.send(_silently(node, effect))
    except StopIteration as end:
        node.result = end.value
        return
    except HiddenState:
        raise
    except Exception as error:
        node.result = Raised(error)
        return
    finally:
        for known in (answer, node.result):
            if isinstance(known, Raised):
                _forget_frames(known.error)
    raise HiddenState(f"{node.kind.name} waits for ever: {SILENT_MAX} pauses in a row")


def _forget_frames(error: BaseException | None) -> None:
    """An error that is kept would keep the frames that it came through, and all that they hold."""
    while error is not None:
        error.__traceback__, error = None, error.__context__


def _resumed(generator: AnyFlow, answer: Any) -> Any:
    # A generator that has not begun takes None, which is the answer of every root.
    return generator.throw(answer.error) if isinstance(answer, Raised) else generator.send(answer)


def _silently(node: Node, effect: Any) -> Any:
    """The answer to an effect that no other party sees."""
    match effect:
        case Now():
            node.clock = True
            return node.now_ms
        case NewId(prefix):
            node.named += 1
            return f"{prefix}_{node.kind.name}_{node.named}".replace(" ", "_")
        case AcquireRateLimit() | LeaveRateLimit():
            return 0.0
        case _:
            return None
