"""Code that knows nothing of flows, driven as a flow."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from xpay_flow.checker.hidden import HiddenState
from xpay_flow.checker.looped import Deadlock
from xpay_flow.checker.parked import THREADS_MAX, release_threads
from xpay_flow.checker.plain import PlainPorts, plain
from xpay_flow.checker.replayed import HandlerFailed
from xpay_flow.effects import Commit, Exchange, Load, NewId, Now, Pause, Ran, RunHandler
from xpay_flow.errors import ConfigurationError, OutcomeUnknown, StoreUnavailable
from xpay_flow.ports import HttpRequest, NoAnswer
from xpay_flow.records import Record, change
from xpay_flow.sample_records import attempt

REQUEST = HttpRequest("GET", "https://api.example/", {})
FIRST = change(Record(key="a"), Record(key="a"))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Whatever a test leaves behind, no thread of it stays."""
    before = threading.active_count()
    yield
    gc.collect()
    release_threads()
    # A thread of the test before may end meanwhile.
    assert threading.active_count() <= before


def driven(
    flow: Any, answers: Callable[[Any], Any] = lambda effect: effect
) -> tuple[list[Any], Any]:
    """What a flow asks for, and what it returns; an answer that is an error is thrown into it."""
    performed = []
    try:
        effect = next(flow)
        while True:
            performed.append(effect)
            answer = answers(effect)
            thrown = isinstance(answer, Exception) and not isinstance(answer, NoAnswer)
            effect = flow.throw(answer) if thrown else flow.send(answer)
    except StopIteration as end:
        return performed, end.value


def reads_twice(alias: str, ports: PlainPorts) -> Any:
    first = ports.store.load(alias)
    return first, ports.clock.now_ms(), ports.ids.new("key"), ports.store.commit(FIRST)


async def reads_twice_awaiting(alias: str, ports: PlainPorts) -> Any:
    first = await ports.store.load(alias)
    now_ms, name = ports.clock.now_ms(), ports.ids.new("key")
    return first, now_ms, name, await ports.store.commit(FIRST)


@pytest.mark.parametrize("function", [reads_twice, reads_twice_awaiting])
def test_each_call_of_a_port_is_an_effect(function: Any) -> None:
    """What a plain function asks of its ports is yielded, and the answers are what they return."""
    performed, returned = driven(plain(function)("a"))
    effects = [Load("a"), Now(), NewId("key"), Commit(FIRST)]
    assert effects == performed
    assert tuple(effects) == returned


def waits(ports: PlainPorts) -> Any:
    ports.clock.pause(2)
    return ports.store.reader().load("a"), ports.store.due("reconcile", 5, 1), ports.store.recent(3)


async def waits_awaiting(ports: PlainPorts) -> Any:
    await ports.clock.pause(2)
    store = ports.store
    return await store.reader().load("a"), await store.due("reconcile", 5, 1), await store.recent(3)


@pytest.mark.parametrize("function", [waits, waits_awaiting])
def test_every_port_has_both_faces(function: Any) -> None:
    """A blocking function and a coroutine ask for the same things, in the same words."""
    performed, returned = driven(plain(function)())
    assert Pause(2) == performed[0]
    assert tuple(performed[1:]) == returned


def survives(ports: PlainPorts) -> list[str]:
    seen = []
    for ask in (
        lambda: ports.store.load("a"),
        lambda: ports.transport.send(REQUEST),
        lambda: ports.handlers.on_success(None),
        lambda: ports.handlers.on_failed(None),
        lambda: ports.xpay.get_intent("in_1"),
    ):
        try:
            ask()
        except Exception as error:
            seen.append(type(error).__name__)
    return seen


async def survives_awaiting(ports: PlainPorts) -> list[str]:
    seen = []
    for ask in (
        lambda: ports.store.load("a"),
        lambda: ports.transport.send(REQUEST),
        lambda: ports.handlers.on_success(None),
        lambda: ports.handlers.on_failed(None),
        lambda: ports.xpay.get_intent("in_1"),
    ):
        try:
            await ask()
        except Exception as error:
            seen.append(type(error).__name__)
    return seen


@pytest.mark.parametrize("function", [survives, survives_awaiting])
def test_a_bad_answer_is_an_error_where_it_was_asked(function: Any) -> None:
    """A store that fails, silence of xPay's, and a handler that fails or lacks raise."""

    def answers(effect: Any) -> Any:
        match effect:
            case Load():
                return StoreUnavailable("gone")
            case Exchange():
                return NoAnswer("late")
            case RunHandler("on_success"):
                return Ran("failed", "out of paper")
            case RunHandler():
                return Ran("missing")
            case _:
                return 0

    errors = (StoreUnavailable, NoAnswer, HandlerFailed, ConfigurationError, OutcomeUnknown)
    assert [error.__name__ for error in errors] == driven(plain(function)(), answers)[1]


# --- what asyncio offers, within one delivery -----------------------------------------------------


async def gathers(ports: PlainPorts) -> Any:
    async def one(name: str) -> Any:
        await asyncio.sleep(1 if name == "slow" else 0)
        return await ports.store.load(name), ports.ids.new(name)

    return await asyncio.gather(one("slow"), one("fast"))


async def groups(ports: PlainPorts) -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ports.store.load(name)) for name in "abc"]
    return [task.result() for task in tasks]


async def locks(ports: PlainPorts) -> Any:
    lock, order = asyncio.Lock(), []

    async def one(name: str) -> None:
        async with lock:
            order.append(name)
            await ports.store.load(name)
            order.append(name)

    await asyncio.gather(*map(one, "abc"))
    return "".join(order)


async def times_out(ports: PlainPorts) -> Any:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 30)
    async with asyncio.timeout(5):
        return await ports.store.load("in time")


async def fails_in_a_group(ports: PlainPorts) -> Any:
    async def fails() -> None:
        await ports.store.load("a")
        raise ValueError

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.sleep(9)) for _ in range(20)]
            group.create_task(fails())
    except* ValueError:
        pass
    return [task.cancelled() for task in tasks]


async def leaves_a_generator(ports: PlainPorts) -> Any:
    async def records() -> Any:
        try:
            yield await ports.store.load("a")
        finally:
            await ports.store.load("end")

    async for record in records():
        found = record
        break
    return found


@pytest.mark.parametrize(
    ("function", "performed", "returned"),
    [
        (
            gathers,
            [Load("fast"), NewId("fast"), Pause(1), Load("slow"), NewId("slow")],
            [(Load("slow"), NewId("slow")), (Load("fast"), NewId("fast"))],
        ),
        (groups, [Load("a"), Load("b"), Load("c")], [Load("a"), Load("b"), Load("c")]),
        (locks, [Load("a"), Load("b"), Load("c")], "aabbcc"),
        (times_out, [Pause(30), Load("in time")], Load("in time")),
        (fails_in_a_group, [Load("a")], [True] * 20),
        (leaves_a_generator, [Load("a")], Load("a")),
    ],
)
def test_asyncio_works_within_a_delivery(function: Any, performed: Any, returned: Any) -> None:
    """Gathered tasks, groups, locks and time-outs run in a fixed order, and take no time."""
    assert (performed, returned) == driven(plain(function)())


def test_within_an_event_loop_of_the_world() -> None:
    """A check may run inside a running loop, which is there again afterwards."""

    async def outer() -> bool:
        driven(plain(gathers)())
        return asyncio.get_running_loop().is_running()

    assert asyncio.run(outer())


async def locks_itself_out(_: PlainPorts) -> None:
    lock = asyncio.Lock()
    async with lock, lock:
        pass


def test_a_deadlock_is_reported() -> None:
    """A delivery whose tasks wait for each other ends with an error instead of never."""
    with pytest.raises(Deadlock, match="locks_itself_out waits for ever"):
        driven(plain(locks_itself_out)())


async def leaves_a_task(ports: PlainPorts) -> int:
    task = asyncio.create_task(ports.store.commit(FIRST))
    await ports.store.load("a")
    return 200 if task else 503


def test_what_is_left_after_the_answer_is_not_done() -> None:
    """A task that the answer did not wait for may die with the process: so it does."""
    assert ([Load("a")], 200) == driven(plain(leaves_a_task)())

    async def later(ports: PlainPorts) -> int:
        task = asyncio.create_task(ports.store.commit(FIRST))
        return 200 if task else 503

    assert ([], 200) == driven(plain(later)())


# --- runs that are abandoned ---------------------------------------------------------------------


WRITTEN: list[str] = []


def insists(ports: PlainPorts) -> None:
    try:
        ports.store.load("a")
    finally:
        for word in ("one", "two"):
            try:
                ports.store.commit(FIRST)
                WRITTEN.append(word)
            except BaseException:
                WRITTEN.append("refused")


async def insists_awaiting(ports: PlainPorts) -> None:
    try:
        await ports.store.load("a")
    finally:
        for word in ("one", "two"):
            try:
                await asyncio.sleep(0)
                await ports.store.commit(FIRST)
                WRITTEN.append(word)
            except BaseException:
                WRITTEN.append("refused")


@pytest.mark.parametrize("function", [insists, insists_awaiting])
@pytest.mark.parametrize("how", ["closed", "collected"])
def test_an_abandoned_run_cannot_write(function: Any, how: str) -> None:
    """After its flow is closed or forgotten, no `finally` reaches the ports."""
    WRITTEN.clear()
    flow = plain(function)()
    assert Load("a") == next(flow)
    if how == "closed":
        flow.close()
        with pytest.raises(StopIteration):
            next(flow)
    del flow
    gc.collect()
    assert {"refused"} == set(WRITTEN)


def never_ends(ports: PlainPorts) -> None:
    while True:
        ports.store.load("a")


def test_threads_are_few_and_a_run_outlives_its_thread() -> None:
    """Of many waiting runs only some keep a thread; the others are run again when needed."""
    release_threads()
    before = threading.active_count()
    flows = [plain(reads_twice)(str(n)) for n in range(3 * THREADS_MAX)]
    for flow in flows:
        next(flow)
    assert THREADS_MAX == threading.active_count() - before
    for n, flow in enumerate(flows):
        assert Now() == flow.send(n)
        assert NewId("key") == flow.send(7)
        assert Commit(FIRST) == flow.send("key_1")
    for n, flow in enumerate(flows):
        with pytest.raises(StopIteration) as end:
            flow.send(True)
        assert (n, 7, "key_1", True) == end.value.value


def test_threads_are_released_on_demand() -> None:
    """`release_threads` unwinds every waiting run, and each goes on afterwards as if it had not."""
    before = threading.active_count()
    flow = plain(reads_twice)("a")
    next(flow)
    flow.send("found")
    release_threads()
    # A thread of the test before may end meanwhile.
    assert threading.active_count() <= before
    assert NewId("key") == flow.send(7)


MOODS: list[str] = []


def moody(ports: PlainPorts) -> None:
    MOODS.append("x")
    ports.store.load(f"mood {len(MOODS)}")
    ports.store.load("b")


async def moody_awaiting(ports: PlainPorts) -> None:
    MOODS.append("x")
    await ports.store.load(f"mood {len(MOODS)}")
    ports.clock.now_ms()
    await ports.store.load("b")


def test_a_run_that_goes_another_way_is_refused() -> None:
    """Run again with the same answers, a function must ask for the same things."""
    flow = plain(moody)()
    next(flow)
    release_threads()
    with pytest.raises(HiddenState, match=r"moody yielded .*mood 1.*, and .*mood 2"):
        flow.send(())
    with pytest.raises(HiddenState, match="moody_awaiting yielded"):
        driven(plain(moody_awaiting)())


def uses_a_thread(ports: PlainPorts) -> None:
    def quietly() -> None:
        with suppress(SystemExit):
            ports.store.load("a")

    thread = threading.Thread(target=quietly)
    thread.start()
    thread.join(60)


async def uses_an_executor(_: PlainPorts) -> None:
    try:
        await asyncio.to_thread(print)
    except Exception:
        return


def test_threads_of_its_own_are_refused() -> None:
    """A port in a second thread, and a thread of asyncio's, are refused by name."""
    with pytest.raises(HiddenState, match="uses_a_thread used a port from a thread"):
        driven(plain(uses_a_thread)())
    with pytest.raises(
        HiddenState, match=r"run_in_executor .*test_plain\.py:.* in uses_an_executor"
    ):
        driven(plain(uses_an_executor)())


def waits_elsewhere(_: PlainPorts) -> None:
    STUCK.acquire(timeout=60)


STUCK = threading.Lock()


def test_waiting_for_something_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that blocks without its ports is refused by name, and holds up none for long."""
    monkeypatch.setattr("xpay_flow.checker.parked.HANG_S", 0.05)
    with STUCK, pytest.raises(HiddenState, match="waits_elsewhere did not come back"):
        driven(plain(waits_elsewhere)())
    for thread in threading.enumerate():
        if "waits_elsewhere" in thread.name:
            thread.join(60)


def test_the_place_is_known() -> None:
    """While it waits, a flow shows where in the user's code."""
    for function in (reads_twice, reads_twice_awaiting):
        flow = plain(function)("a")
        next(flow)
        assert flow.place.endswith(f" in {function.__name__}")
        assert "test_plain.py:" in flow.place


def test_many_runs_fit_into_a_second() -> None:
    """Ten thousand resumptions of each kind are no trouble: the answers arrive all the same."""

    def counts(ports: PlainPorts) -> int:
        return sum(ports.store.load("a") for _ in range(2000))

    async def counts_awaiting(ports: PlainPorts) -> int:
        return sum([await ports.store.load("a") for _ in range(2000)])

    for function in (counts, counts_awaiting):
        assert 2000 == driven(plain(function)(), lambda _: 1)[1]


def test_records_pass_through_as_they_are() -> None:
    """A port gives its caller the very value that was answered."""
    record = attempt().record
    flow = plain(lambda ports: ports.store.load("a")[0])()
    assert record is driven(flow, lambda _: (record,))[1]
