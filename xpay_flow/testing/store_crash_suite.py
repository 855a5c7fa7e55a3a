"""What is left of a commit that ends at any call of its driver? All of it or nothing.

The process dies before the call, the call fails, or it is applied and reports a failure. Then the
data are opened again, as by the next process.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs
import pytest

from xpay_flow import sample_records as b
from xpay_flow.errors import StoreError
from xpay_flow.ports import BatchCommitting, Store, Transactional
from xpay_flow.records import Change, Record

from .limits import DUTY_S, within_s
from .store_making import DRIVER, REOPENED, Making, needs
from .store_steps import WORKS, due, found, put

if TYPE_CHECKING:
    from xpay_flow.checker.contract import Cut

Ending: TypeAlias = Literal["die", "refuse", "spoil"]
ENDINGS: Final[tuple[Ending, ...]] = ("die", "refuse", "spoil")
Commit: TypeAlias = Callable[[Any, Sequence[Change]], Sequence[bool]]

# What ends the work cannot be distinguished, failed or not, from the end of the process.
NO_FAULT: Final = ("close", "rollback")


@attrs.frozen
class Case:
    """Commits to be ended: what is on file before, and what is committed on top of it."""

    before: Sequence[Change]
    steps: Sequence[Change]

    def stored(self, key: str) -> list[Record]:
        """What `load(key)` gives before."""
        return [step.record for step in self.before if step.record.key == key][-1:]


def cases() -> Sequence[Case]:
    """The first commit of a record, and one that adds names, events, outbox and due times."""
    other = b.attempt("order-9")
    first = b.attempt()
    second = b.next_change(first.record, b.failed(), b.created("in_7"), b.paid(x_intent_id="in_7"))
    third = b.next_change(second.record, b.refunded())
    return [Case([other], [first]), Case([other, first], [second]), Case([first, second], [third])]


class Crashes(Making):
    """The duties of a store that keeps what it is given beyond its process."""

    @needs(REOPENED, DRIVER)
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_commit_cut_short_is_whole_or_absent(self, ending: Ending) -> None:
        """Acknowledged is there; else all of it or nothing, and the next process goes on."""
        for case in cases():
            self._ended(case, ending, lambda store, steps: [store.commit(steps[0])])

    @needs(REOPENED, DRIVER, BatchCommitting)
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_batch_cut_short_is_whole_or_absent(self, ending: Ending) -> None:
        """All changes of a batch are there, or none."""
        case = Case([], [b.attempt("order-1"), b.attempt("order-2")])
        self._ended(case, ending, lambda store, steps: store.commit_many(steps))

    @needs(REOPENED, DRIVER, Transactional)
    @pytest.mark.parametrize("ending", ENDINGS)
    def test_a_shared_transaction_cut_short_is_whole_or_absent(self, ending: Ending) -> None:
        """The same for a commit in which a handler writes, too."""
        for case in cases():
            self._ended(
                case,
                ending,
                lambda store, steps: [store.commit_with(steps[0], _writes_nothing)],
            )

    def _ended(self, case: Case, ending: Ending, commit: Commit) -> None:
        """Cut the commit of a case at each call, and judge what each time is left.

        In a thread: what a dead process has locked may keep the next one waiting for ever, and
        the duty then fails.
        """
        within_s(DUTY_S, lambda: self._cut_at_each_call(case, ending, commit))

    def _cut_at_each_call(self, case: Case, ending: Ending, commit: Commit) -> None:
        opener, statements = self._probed()
        calls = 0
        at_work: list[Store] = []

        def begin() -> None:
            nonlocal opener
            self._drop(at_work)
            at_work.append(store := self.make_store())
            opener = self.reopen_store(store)
            for step in case.before:
                put(store, step)

        with _left_open():
            for cut in _cuts(lambda: commit(at_work[0], case.steps), ending, begin, statements):
                if cut.ending != "die" and cut.statement and cut.statement.call in NO_FAULT:
                    continue
                calls += cut.number is not None
                again = opener()
                try:
                    _judge(again, case, cut)
                finally:
                    self.discard(again)
            self._drop(at_work)
        assert calls, (
            "no call of a known driver was seen: name yours in the store's `statements`, or say "
            "`has_driver = False` in the suite"
        )

    def _probed(self) -> tuple[Callable[[], Store], Sequence[Callable[..., Any]]]:
        """How the data are opened again, and which calls the store declares."""
        probe = self.make_store()
        try:
            return self.reopen_store(probe), getattr(probe, "statements", ())
        finally:
            self.discard(probe)

    def _drop(self, stores: list[Store]) -> None:
        """Let go of a store whose connections may have been cut, which it may complain about."""
        while stores:
            try:
                self.discard(stores.pop())
            except Exception:  # whatever a dead process complains about
                continue


@contextmanager
def _left_open() -> Generator[None, None, None]:
    """A block in which files may be left open, as by a process that died."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def _writes_nothing(_: object) -> None: ...


def _cuts(
    act: Callable[[], Any],
    ending: Ending,
    before: Callable[[], object],
    statements: Sequence[Callable[..., Any]],
) -> Iterator[Cut]:
    # The contract check is a layer above, since it takes its records from here; only these duties
    # reach up, when they run.
    from xpay_flow.checker.contract import at_each_driver_call

    return at_each_driver_call(act, ending=ending, before=before, declared=statements)


def _judge(store: Store, case: Case, cut: Cut) -> None:
    words = cut.in_words()
    assert cut.error is None or isinstance(cut.error, StoreError), f"{words}: {cut.error!r}"
    answers = [True] * len(case.steps)
    assert cut.answer in (answers, None), f"{words}: {cut.answer}, without another writer"
    there = {_is_there(store, case, step, words) for step in case.steps}
    assert 1 == len(there), f"{words}: a part of the batch is there"
    assert there == {True} or cut.answer is None, f"{words}: acknowledged, and not there"
    assert cut.number is not None or cut.answer == answers, f"{words}: {cut.answer}"
    _others_are_untouched(store, case, words)
    _goes_on(store, case, there == {True}, words)


def _is_there(store: Store, case: Case, step: Change, words: str) -> bool:
    """Whether the change has happened, which must be so in all of its parts."""
    key, before, after = step.record.key, case.stored(step.record.key), [step.record]
    there = found(store, key)
    assert there in (before, after), f"{words}: neither the old record nor the new one"
    names = {alias for record in there for alias in record.aliases}
    for alias in {alias for record in (*before, *after) for alias in record.aliases}:
        keys = [record.key for record in store.load(alias)]
        assert (key in keys) is (alias in names), f"{words}: {alias} finds {keys}"
    for work in WORKS:
        is_due = any(record.due_at_ms(work) is not None for record in there)
        assert is_due is (key in due(store, work)), f"{words}: what is due for {work} is not so"
    return there == after


def _others_are_untouched(store: Store, case: Case, words: str) -> None:
    changed = {step.record.key for step in case.steps}
    for key in {step.record.key for step in case.before} - changed:
        assert case.stored(key) == found(store, key), f"{words}: {key} has changed"


def _goes_on(store: Store, case: Case, done: bool, words: str) -> None:
    """The next process does what was not done, and goes on from there."""
    for step in case.steps:
        assert store.commit(step) is not done, f"{words}: and then again"
        put(store, b.next_change(step.record, b.failed("whe_later")))
