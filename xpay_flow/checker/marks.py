"""Which steps of a trace are highlighted?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

from xpay_flow.effects import Commit, Due, Exchange, History, Load, Recent, RunHandler

from .lanes import Lanes
from .story import Step

# Such an effect leaves no trace.
READS = (Load, History, Due, Recent)

Clash = Callable[[Step, Step], bool]


def conflict(promise: str, lanes: Lanes) -> tuple[int, int] | None:
    """The rows of two steps of two tasks that cannot both be right; None if there are none.

    Two writes of one version that were both confirmed are wrong whatever is promised. That a
    handler is called twice, or an intent made twice, is wrong where the promise is about that.
    """
    clashes = (_both_won, *_CLASHES.get(promise, ()))
    for clash in clashes:
        for one, other in combinations(range(len(lanes.rows)), 2):
            first, second = lanes.rows[one], lanes.rows[other]
            if first.task != second.task and clash(first.step, second.step):
                return one, other
    return None


def last_change(story: Sequence[Step]) -> int:
    """The number of the last step that left a trace: what was read after it changes nothing."""
    changed = (at for at, step in enumerate(story) if not _is_traceless(step))
    return max(changed, default=len(story) - 1)


def _is_traceless(step: Step) -> bool:
    if step.what == "does":
        return isinstance(step.op, READS)
    # No party waits for a flow that ends without an answer.
    return step.what == "starts" or (step.what == "ends" and step.answer is None)


def _both_won(one: Step, other: Step) -> bool:
    if not (isinstance(one.op, Commit) and isinstance(other.op, Commit)):
        return False
    same = one.op.change.record.key == other.op.change.record.key
    read = one.op.change.expected_version == other.op.change.expected_version
    return same and read and one.answer is True and other.answer is True


def _both_called(one: Step, other: Step) -> bool:
    if not (isinstance(one.op, RunHandler) and isinstance(other.op, RunHandler)):
        return False
    same = (one.op.name, one.op.payment.receipt_id) == (other.op.name, other.op.payment.receipt_id)
    return same and one.how == other.how == "done"


def _both_made(one: Step, other: Step) -> bool:
    if not (isinstance(one.op, Exchange) and isinstance(other.op, Exchange)):
        return False
    posted = one.op.request.method == other.op.request.method == "POST"
    return posted and one.op.request.headers != other.op.request.headers


_CLASHES: dict[str, tuple[Clash, ...]] = {
    "handlers_are_called_once": (_both_called,),
    "paid_once": (_both_called,),
    "no_second_payment": (_both_made,),
}
