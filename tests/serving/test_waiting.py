"""That customers who wait see a payment at once, and that they cannot hurt a webhook."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest

from xpay_flow import sample_records as b
from xpay_flow import watcher
from xpay_flow.effects import Query, load, now, pause
from xpay_flow.errors import StoreUnavailable
from xpay_flow.flows import queries
from xpay_flow.records import Change, x_intent_alias
from xpay_flow.stores.sqlite import SQLiteStore
from xpay_flow.waiting import OF_ONE_RECORD_MAX, REMEMBERED_MAX, HangUp, Waiter, Waiting, digest_of

from . import waiting_kit
from .waiting_kit import KINDS, WAIT_S, Site, answered, site, words

Duty: TypeAlias = Callable[[str, Path], None]
Fault: TypeAlias = Callable[[pytest.MonkeyPatch], None]

both_kinds = pytest.mark.parametrize("kind", KINDS)

# --- duties: each holds for both kinds of flow, and each fault below breaks one ------------------


def shows_a_commit_of_its_process_at_once(kind: str, path: Path) -> None:
    with site(kind, path) as shop:
        waiting = shop.status("in_0", wait=WAIT_S)
        shop.until_waiting(1)
        assert 200 == shop.pay("in_0").result(WAIT_S).status
        # The watcher's clock stands still: nobody has looked.
        assert "SUCCESS" == answered(waiting)["status"]
        shop.until_waiting(0)


def shows_a_commit_of_another_process_at_the_next_look(kind: str, path: Path) -> None:
    with site(kind, path) as shop:
        waiting = shop.status("in_0", wait=WAIT_S)
        shop.until_waiting(1)
        assert shop.clock.pauses.acquire(timeout=WAIT_S)
        shop.pay_elsewhere("in_0")
        assert not waiting.done()
        shop.clock.let_go()
        assert "SUCCESS" == answered(waiting)["status"]


def looks_once_for_all(kind: str, path: Path) -> None:
    with site(kind, path, payments=20) as shop:
        looks = counted(shop, "versions")
        waiting = [shop.status(f"in_{n % 20}", wait=WAIT_S) for n in range(40)]
        shop.until_waiting(40)
        assert shop.clock.pauses.acquire(timeout=WAIT_S)
        before = len(looks)
        shop.clock.let_go()
        assert shop.clock.pauses.acquire(timeout=WAIT_S)
        assert 1 == len(looks) - before
        shop.flow.ports.shared.waiting.close()
        assert {"PENDING"} == set(words(waiting))


def answers_about_an_unknown_id_at_once(kind: str, path: Path) -> None:
    with site(kind, path) as shop:
        for answer in [shop.status(f"in_nobody_{n}", wait=WAIT_S) for n in range(5)]:
            said = answered(answer)
            assert ("PENDING", False) == (said["status"], said["known"])
            assert 5 == said["retry_after_s"]
        assert 0 == shop.waiting


def lets_no_more_wait_than_the_cap(kind: str, path: Path) -> None:
    with site(kind, path, status_waiting_max=2) as shop:
        waiting = [shop.status("in_0", wait=WAIT_S) for _ in range(2)]
        shop.until_waiting(2)
        refused = shop.status("in_0", wait=WAIT_S)
        assert ("PENDING", 5) == (
            answered(refused)["status"],
            answered(refused).get("retry_after_s"),
        )
        assert ("Retry-After", "5") in refused.result(0).headers
        assert 2 == shop.waiting
        shop.pay("in_0").result(WAIT_S)
        assert ["SUCCESS", "SUCCESS"] == words(waiting)
        shop.until_waiting(0)


def reads_only_through_the_reader(kind: str, path: Path) -> None:
    with site(kind, path) as shop:
        of_the_store = counted(shop, "load", store=True)
        waiting = shop.status("in_0", wait=WAIT_S)
        shop.until_waiting(1)
        shop.clock.let_go(2)
        shop.status("in_0").result(WAIT_S)
        shop.flow.ports.shared.waiting.close()
        answered(waiting)
        assert [] == of_the_store


def counted(shop: Site, name: str, *, store: bool = False) -> list[Any]:
    """The calls of one method of the reader, or of the store that webhooks use."""
    blocking: Any = shop.store if store else shop.flow._reader
    if not store and hasattr(blocking, "_reader"):
        blocking = blocking._reader
    calls: list[Any] = []
    method = getattr(blocking, name)

    def noted(*given: Any) -> Any:
        calls.append(given)
        return method(*given)

    setattr(blocking, name, noted)
    return calls


DUTIES: list[Duty] = [
    shows_a_commit_of_its_process_at_once,
    shows_a_commit_of_another_process_at_the_next_look,
    looks_once_for_all,
    answers_about_an_unknown_id_at_once,
    lets_no_more_wait_than_the_cap,
    reads_only_through_the_reader,
]


@both_kinds
@pytest.mark.parametrize("duty", DUTIES, ids=lambda duty: duty.__name__)
def test_a_waiting_status_query(
    duty: Callable[[str, Path], None], kind: str, tmp_path: Path
) -> None:
    """Each duty of a flow to those who wait, on a file that other processes share."""
    duty(kind, tmp_path)


# --- planted faults ------------------------------------------------------------------------------


def commits_wake_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Waiting, "committed", lambda self, change: None)


def looks_find_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Waiting, "found", lambda self, key, version: None)


def each_looks_for_itself(patch: pytest.MonkeyPatch) -> None:
    def look(waiting: Waiting, *, together: bool) -> Query[None]:
        yield from pause(0.5)
        wanted = waiting.keys()
        with suppress(StoreUnavailable):
            for key in wanted:
                yield from queries.versions([key], together=together)

    patch.setattr(watcher, "look", look)


def unknown_ids_wait(patch: pytest.MonkeyPatch) -> None:
    real = queries.status

    def status(x_intent_id: str, *, wait_s: float = 0, seen: Any = None) -> Query[Any]:
        until_ms = (yield from now()) + int(wait_s * 1000)
        while not (yield from load(x_intent_alias(x_intent_id))):
            if (yield from now()) >= until_ms:
                break
            yield from pause(0.5)
        return (yield from real(x_intent_id, wait_s=wait_s, seen=seen))

    patch.setattr("xpay_flow.endpoints.status", status)


def the_cap_is_one_more(patch: pytest.MonkeyPatch) -> None:
    real = Waiting.__init__
    patch.setattr(Waiting, "__init__", lambda self, at_most: real(self, at_most + 1))


def the_cap_is_kept_from_the_customer(patch: pytest.MonkeyPatch) -> None:
    real = queries.status

    def status(x_intent_id: str, *, wait_s: float = 0, seen: Any = None) -> Query[Any]:
        found = yield from real(x_intent_id, wait_s=wait_s, seen=seen)
        return attrs.evolve(found, retry_after_s=None) if found.known else found

    patch.setattr("xpay_flow.endpoints.status", status)


def places_are_never_free_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Waiting, "leave", lambda self, waiter: None)


def waiters_read_on_the_connections_of_webhooks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SQLiteStore, "reader", lambda self: self)


PLANTED: list[tuple[Fault, Duty]] = [
    (commits_wake_nobody, shows_a_commit_of_its_process_at_once),
    (places_are_never_free_again, shows_a_commit_of_its_process_at_once),
    (looks_find_nothing, shows_a_commit_of_another_process_at_the_next_look),
    (each_looks_for_itself, looks_once_for_all),
    (unknown_ids_wait, answers_about_an_unknown_id_at_once),
    (the_cap_is_one_more, lets_no_more_wait_than_the_cap),
    (the_cap_is_kept_from_the_customer, lets_no_more_wait_than_the_cap),
    (waiters_read_on_the_connections_of_webhooks, reads_only_through_the_reader),
]


@both_kinds
@pytest.mark.parametrize(
    ("fault", "duty"), PLANTED, ids=[f"{fault.__name__}-{duty.__name__}" for fault, duty in PLANTED]
)
def test_a_fault_in_waiting_is_found(
    fault: Fault, duty: Duty, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What breaks a duty fails in that duty."""
    monkeypatch.setattr(waiting_kit, "ENDS_S", 1.0)
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        duty(kind, tmp_path)


# --- the list of those who wait ------------------------------------------------------------------


def entered(waiting: Waiting, key: str = "a", version: int = 1, seconds: float = 60) -> Waiter:
    waiter = waiting.enter(key, version, seconds)
    assert waiter is not None
    return waiter


def test_waiting_misses_no_commit_between_a_look_and_the_wait() -> None:
    """Who has seen an older version than was committed meanwhile does not begin to wait."""
    waiting = Waiting(10)
    waiting.committed(committed(2))
    assert "changed" == entered(waiting, RECORD.key, 1).woken.result(0)
    assert not entered(waiting, RECORD.key, 2).woken.done()


def test_waiting_wakes_only_for_newer_versions_of_the_record() -> None:
    """Others, and who has seen this version, wait on."""
    waiting = Waiting(10)
    ours, seen, other = (
        entered(waiting, key, n) for key, n in ((RECORD.key, 1), (RECORD.key, 2), ("b", 1))
    )
    waiting.committed(committed(2))
    assert [True, False, False] == [waiter.woken.done() for waiter in (ours, seen, other)]
    waiting.reported(digest_of("b"))
    assert "changed" == other.woken.result(0)


def test_waiting_remembers_a_bounded_number_of_commits() -> None:
    """Of a million payments the last thousand are remembered."""
    waiting = Waiting(10)
    for number in range(2 * REMEMBERED_MAX):
        waiting.committed(committed(2, f"k{number}"))
    assert not entered(waiting, "k0", 1).woken.done()
    assert entered(waiting, f"k{2 * REMEMBERED_MAX - 1}", 1).woken.done()


def test_waiting_forgets_who_is_overdue() -> None:
    """A forked process does not look for those who wait in its parent for ever."""
    waiting = Waiting(1)
    entered(waiting, seconds=-1)
    assert () == waiting.keys()
    entered(waiting)
    assert ("a",) == waiting.keys()


def test_waiting_has_few_places_for_one_payment() -> None:
    """Who knows one payment does not keep all other customers from waiting."""
    waiting = Waiting(100)
    places = [entered(waiting) for _ in range(OF_ONE_RECORD_MAX)]
    assert waiting.enter("a", 1, 60) is None
    entered(waiting, "b")
    waiting.leave(places[0])
    entered(waiting)


def test_waiting_that_is_closed_lets_nobody_in() -> None:
    """close() ends every wait, and those who come later are answered at once."""
    waiting = Waiting(10)
    waiter = entered(waiting)
    waiting.close()
    assert "time_up" == waiter.woken.result(0)
    assert waiting.enter("a", 1, 60) is None


def test_waits_that_began_together_end_apart() -> None:
    """Each has a time of its own within the requested one, so that no herd comes back at once."""
    times = {watcher.spread(20) for _ in range(100)}
    assert 50 < len(times)
    assert 14 <= min(times) <= max(times) <= 20


def test_a_hang_up_ends_the_wait_whichever_comes_first() -> None:
    """A client that hung up before the wait began does not wait, nor one that does so later."""
    before, later = HangUp(), HangUp()
    waiting = Waiting(10)
    before.happened()
    one, other = entered(waiting), entered(waiting)
    with before.ends(one), later.ends(other):
        assert "time_up" == one.woken.result(0)
        assert not other.woken.done()
        later.happened()
        assert "time_up" == other.woken.result(0)


RECORD = b.attempt().record


def committed(version: int, key: str = RECORD.key) -> Change:
    after = attrs.evolve(RECORD, version=version, key=key)
    return Change(record=after, expected_version=version - 1)


def test_a_store_that_is_down_ends_no_wait(tmp_path: Path) -> None:
    """The look fails, and the next one finds the payment."""
    with site("Flow", tmp_path) as shop:
        waiting = shop.status("in_0", wait=WAIT_S)
        shop.until_waiting(1)
        reader = shop.flow._reader
        versions = reader.versions
        reader.versions = raising
        assert shop.clock.pauses.acquire(timeout=WAIT_S)
        shop.pay_elsewhere("in_0")
        shop.clock.let_go()
        assert shop.clock.pauses.acquire(timeout=WAIT_S)
        assert not waiting.done()
        reader.versions = versions
        shop.clock.let_go()
        assert "SUCCESS" == answered(waiting)["status"]


def raising(*_: object) -> None:
    raise StoreUnavailable("down, as the test wants it")
