"""The checker of apps as they stand: each mistake is found on its promise, and right shops pass."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xpay_flow.checker import check_app, verify_app
from xpay_flow.checker.app import AppBound, AppResult, Ending
from xpay_flow.checker.app.delivery import forked
from xpay_flow.checker.app.dependence import Transactions
from xpay_flow.checker.app.points import Done, Point
from xpay_flow.checker.app.promises import ACKNOWLEDGED, ONCE, READ_ONLY, REFUNDED
from xpay_flow.checker.app.report import moves_of, seed_of, sql_words
from xpay_flow.checker.app.scenes import Fault
from xpay_flow.errors import ConfigurationError

TESTS = Path(__file__).parents[1]
SHOPS = "checker.app_shops"
RESET = f"{SHOPS}.xpay:reset"
WEBHOOK = "/webhooks/xpay"
RECORDED = "SELECT count(*) FROM orders WHERE status = 'refunded'"

# Shop, with how few faults, the scene, the promise.
TEETH = [
    ("small:asgi_check_then_act", 0, "twice", ONCE),
    ("small:wsgi_two_commits", 0, "twice", ONCE),
    ("small:asgi_remembered_in_memory", 0, "twice", ONCE),
    ("small:asgi_remembered_by_receipt", 0, "twice", ONCE),
    ("small:wsgi_workers_without_a_claim", 0, "twice", ONCE),
    ("small:asgi_fulfil_then_save", 0, "twice", ONCE),
    ("small:asgi_late_failure_wins", 0, "failed-then-paid", ONCE),
    ("small:wsgi_exception_swallowed", 0, "failed-then-paid", ONCE),
    ("small:asgi_type_not_looked_at", 0, "unpaid", ONCE),
    ("small:asgi_amount_not_compared", 1, "wrong-amount", ONCE),
    ("small:wsgi_currency_not_compared", 1, "wrong-currency", ONCE),
    ("small:asgi_any_pending_order", 1, "foreign", ONCE),
    ("small:asgi_unknown_order_acknowledged", 1, "too-early", ONCE),
    ("small:asgi_signature_not_checked", 1, "forged", ONCE),
    ("small:asgi_dedupe_row_in_its_own_transaction", 1, "too-early", ONCE),
    ("small:asgi_save_then_fulfil", 1, "once", ONCE),
    ("small:wsgi_failed_call_swallowed", 1, "once", ONCE),
    ("small:asgi_duplicate_refused", 1, "once", ACKNOWLEDGED),
]
RIGHT = [
    *("small:asgi_right", "small:wsgi_right_claim", "small:asgi_right_key"),
    *("small:wsgi_right_dedupe", "small:asgi_right_unique"),
]
FASTAPI = [
    ("fastapi_shop:app_lost_update", 0, "twice", ONCE),
    ("fastapi_shop:app_answer_before_work", 1, "once", ONCE),
]
DJANGO = [
    ("get_or_create_race", "wsgi", "twice"),
    ("mail_before_commit", "asgi", "twice"),
    ("saved_over", "wsgi", "twice"),
]


def checked(shop: str, faults: int = 1, **options: Any) -> AppResult:
    given = {"reset": RESET, "webhook": WEBHOOK, "bound": AppBound(faults=faults)} | options
    return check_app(f"{SHOPS}.{shop}", **given)


@pytest.mark.parametrize(("shop", "faults", "scene", "promise"), TEETH)
def test_check_app_finds_the_mistake(shop: str, faults: int, scene: str, promise: str) -> None:
    """A shop with one classic mistake is VIOLATED, in the scene and on the promise of its kind."""
    result = checked(shop, faults)
    found = result.counterexample
    assert found is not None, result.as_text()
    assert (scene, faults, promise) == (found.scene.name, found.faults, found.broken.promise)
    assert found.confirmed
    assert "VIOLATED" == result.verdict


@pytest.mark.parametrize(("shop", "faults", "scene", "promise"), FASTAPI)
def test_check_app_finds_the_mistake_in_fastapi(
    shop: str, faults: int, scene: str, promise: str
) -> None:
    """A shop on FastAPI and SQLAlchemy needs no help: its path and its order are found."""
    result = checked(shop, faults, reset=f"{SHOPS}.fastapi_shop:reset", webhook="")
    found = result.counterexample
    assert found is not None, result.as_text()
    assert (scene, faults, promise) == (found.scene.name, found.faults, found.broken.promise)


def test_check_app_raises_no_alarm_for_a_right_shop_on_fastapi() -> None:
    """A right shop on FastAPI and SQLAlchemy is EXHAUSTED."""
    result = checked("fastapi_shop:app_right", 0, reset=f"{SHOPS}.fastapi_shop:reset", webhook="")
    assert "EXHAUSTED" == result.verdict, result.as_text()


def django(shop: str, kind: str) -> Any:
    """The verdict of the command, in a process of its own: Django is configured once in each."""
    name = f"{SHOPS}.django_shop"
    arguments = ["check-app", f"{name}:{kind}", "--reset", f"{name}:reset", "--faults", "0"]
    folders = f"{TESTS}{os.pathsep}{os.environ.get('PYTHONPATH', TESTS.parent)}"
    done = subprocess.run(
        [sys.executable, "-m", "xpay_flow.cli", *arguments, "--json"],
        env=os.environ | {"SHOP": shop, "PYTHONPATH": folders},
        capture_output=True,
        timeout=150,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(("shop", "kind", "scene"), DJANGO)
def test_check_app_command_finds_the_mistake_in_django(shop: str, kind: str, scene: str) -> None:
    """A shop on Django's ORM is checked by its asgi or wsgi, and the command prints JSON."""
    found = django(shop, kind)
    assert "VIOLATED" == found["verdict"]
    assert (scene, ONCE) == (found["violation"]["scene"], found["violation"]["promise"])
    assert "verify_app(" in found["violation"]["test"]


def test_check_app_command_raises_no_alarm_for_a_right_shop_on_django() -> None:
    """A right shop on Django's ORM is EXHAUSTED."""
    assert "EXHAUSTED" == django("right", "asgi")["verdict"]


@pytest.mark.parametrize("shop", RIGHT)
def test_check_app_raises_no_alarm_for_a_right_shop(shop: str) -> None:
    """A shop without a mistake is EXHAUSTED with any one fault."""
    result = checked(shop)
    assert "EXHAUSTED" == result.verdict, result.as_text()
    assert result.executions > 50


@pytest.mark.parametrize(
    ("shop", "kind"),
    [
        ("small:asgi_undone_after_a_lost_commit", "lost answer"),
        ("small:wsgi_save_then_fulfil", "death"),
        ("small:asgi_call_tried_twice", "call"),
        ("small:asgi_given_up_too_late", "call"),
        ("small:asgi_duplicate_refused", "lost 2xx"),
    ],
)
def test_each_kind_of_fault_has_a_mistake_that_it_finds(shop: str, kind: Fault) -> None:
    """With this kind alone the mistake is found, and without a fault it is not."""
    bound = AppBound(faults=1, kinds=(kind,))
    result = checked(shop, scenes=["once"], bound=bound)
    found = result.counterexample
    assert found is not None, result.as_text()
    assert 1 == found.faults
    assert found.confirmed


def test_a_call_that_hangs_ends_after_xpay_has_come_again() -> None:
    """The redelivery is served while the first request hangs, which then goes on."""
    found = checked("small:asgi_given_up_too_late", scenes=["once"]).counterexample
    assert found is not None
    assert "hang" in [act for _, act in found.moves]
    assert ("a", "waits over") == (found.steps[-4].process, found.steps[-4].act)


def test_check_app_adds_a_refund_where_its_record_can_be_counted() -> None:
    """A refund that is acknowledged and not recorded breaks its promise; recorded, it does not."""
    ignored = checked("small:asgi_refund_ignored", 0, refunded=RECORDED)
    assert ignored.counterexample is not None
    assert REFUNDED == ignored.counterexample.broken.promise
    assert "EXHAUSTED" == checked("small:asgi_right_refund", 0, refunded=RECORDED).verdict


def test_check_app_sends_a_customer_to_the_return_page() -> None:
    """A return page that writes breaks its promise."""
    result = checked("small:return_page_writes", 0, return_path="/thanks?status=SUCCESS")
    assert result.counterexample is not None
    assert READ_ONLY == result.counterexample.broken.promise


def end_of(ending: Ending) -> str:
    """Each end of an execution is a breach of its own."""
    rows = {name: sorted(table.rows.values()) for name, table in ending.contents().items()}
    return f"{rows} {ending.calls}"


DEEP = pytest.mark.deep


@pytest.mark.parametrize(
    ("shop", "scene"),
    [
        ("two_commits", "twice"),
        ("check_then_act", "failed-then-paid"),
        ("exception_swallowed", "failed-then-paid"),
        ("right_claim", "failed-then-paid"),
        pytest.param("check_then_act", "twice", marks=DEEP),
        pytest.param("exception_swallowed", "twice", marks=DEEP),
        pytest.param("right_claim", "twice", marks=DEEP),
    ],
)
def test_reduced_search_of_an_app_reaches_the_same_ends(shop: str, scene: str) -> None:
    """Every end that some order of all statements has is reached by the reduced search, too."""
    reached = [
        checked(
            f"small:asgi_{shop}",
            promise=end_of,
            scenes=[scene],
            bound=AppBound(faults=0, reduced=reduced),
        ).explored[-1]
        for reduced in (True, False)
    ]
    assert reached[0].breaches == reached[1].breaches
    assert reached[0].executions < reached[1].executions


def test_replay_of_an_app_does_the_trace_again() -> None:
    """A seed leads to the same breach, and a right shop ends well or takes another way."""
    found = checked("small:asgi_check_then_act", 0).counterexample
    assert found is not None
    seed = seed_of(found)
    assert (found.scene.name, found.moves) == moves_of(seed)
    again = checked("small:asgi_check_then_act", replay=seed).counterexample
    assert again is not None
    assert found.broken == again.broken
    assert checked("small:asgi_right_claim", replay=seed).counterexample is None


def test_verify_app_fails_with_the_trace() -> None:
    """The test fails with the lines of the user's code, and passes for a right shop."""
    options: dict[str, Any] = {"reset": RESET, "webhook": WEBHOOK, "bound": AppBound(faults=0)}
    with pytest.raises(AssertionError) as failed:
        verify_app(f"{SHOPS}.small:asgi_check_then_act", **options)()
    assert 'db.execute("INSERT INTO shipments' in str(failed.value)
    assert "small.py:" in str(failed.value)
    verify_app(f"{SHOPS}.small:asgi_right", **options)()


def test_check_app_never_touches_the_apps_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without reset, a copy of the app's own file is what each execution begins with."""
    monkeypatch.chdir(tmp_path)
    from .app_shops import xpay

    xpay.reset()
    before = Path("shop.db").read_bytes()
    result = checked("small:asgi_check_then_act", 0, reset=None)
    assert "VIOLATED" == result.verdict
    assert before == Path("shop.db").read_bytes()


def test_check_app_takes_sql_and_functions_for_promises() -> None:
    """A line of SQL, and a function, are judged at the end with what xPay knows."""
    once = "SELECT count(*) = :paid FROM shipments"
    for promise in (once, lambda ending: ending.sql(once)[0][0] == 1):
        assert "EXHAUSTED" == checked("small:asgi_right", 0, promise=promise).verdict
        broken = checked("small:asgi_check_then_act", 0, promise=promise).counterexample
        assert broken is not None
        assert "twice" == broken.scene.name


def test_check_app_counts_fulfilments_where_it_is_shown_them() -> None:
    """`fulfilled` counts by SQL or by outgoing calls, of which equal keys count once."""
    counted = {"fulfilled": "call:warehouse.example"}
    assert "EXHAUSTED" == checked("small:asgi_right_key", 0, **counted).verdict
    assert "VIOLATED" == checked("small:asgi_fulfil_then_save", 0, **counted).verdict
    rows = {"fulfilled": "SELECT count(*) FROM shipments"}
    assert "VIOLATED" == checked("small:asgi_two_commits", 0, **rows).verdict


def test_check_app_refuses_what_it_cannot_judge() -> None:
    """A wrong secret, an unknown scene and SQL that cannot be run are named, each with its cure."""
    for options, words in (
        ({"secret": "another_secret_0123456789"}, "answers 401"),
        ({"scenes": ["thrice"]}, "no scene thrice"),
        ({"promise": "SELECT count(*) FROM parcels"}, "no such table"),
        ({"reset": f"{SHOPS}.xpay:connect"}, "name it"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            checked("small:asgi_right", 0, **options)


def test_check_app_ends_unfinished_when_its_time_is_up() -> None:
    """With no seconds left, the verdict is UNFINISHED and shows what was seen."""
    result = checked("small:asgi_right", bound=AppBound(faults=1, seconds_max=0))
    assert "UNFINISHED" == result.verdict
    assert "Time is up" in result.as_text()


def test_a_statement_is_shown_with_its_values() -> None:
    """Values are put in, columns left out, and a table is not named twice."""
    sql = 'SELECT "order".id, "order".receipt_id, "order".status FROM "order" WHERE "order".id = ?'
    assert "SELECT … FROM order WHERE id = 7" == sql_words(sql, (7,))
    assert "UPDATE t SET a='x'" == sql_words("UPDATE t SET a=:a", {"a": "x"})


def test_a_process_of_a_check_ends_with_its_work() -> None:
    """What is forked does its work, sends it and ends, whatever it raises."""
    _, pipe = forked(lambda pipe: pipe.send("done"))
    assert pipe.poll(10)
    assert "done" == pipe.recv()
    _, pipe = forked(lambda pipe: 1 / 0)
    assert pipe.poll(10)
    with pytest.raises(EOFError):
        pipe.recv()
    assert sqlite3.connect is sqlite3.dbapi2.connect


def statement(sql: str, *parameters: Any, is_open: bool = False, **more: Any) -> Point:
    given = {"database": "sqlite3", "in_transaction": is_open} | more
    return Point(kind="sql", text=sql, parameters=parameters, **given)


def disturbs(one: Point, other: Point) -> bool:
    touches = [
        Transactions(coarse=False).touch(
            point, Done(in_transaction=point.in_transaction), blocked=False
        )
        for point in (one, other)
    ]
    return touches[0].disturbs(touches[1])


BY_ID, BY_OTHER_ID = (statement("SELECT * FROM t WHERE id = ?", n) for n in (1, 2))
WRITE = statement("UPDATE t SET a = ? WHERE id = ?", 7, 1, database="elsewhere")


@pytest.mark.parametrize(
    ("sql", "parameters", "expected"),
    [
        ("SELECT * FROM t WHERE id = ?", (1,), True),
        ("SELECT * FROM t WHERE id = ?", (2,), False),
        ("SELECT * FROM u WHERE id = ?", (1,), False),
        ("SELECT * FROM u JOIN t ON u.x = t.y WHERE t.id = ?", (2,), True),
        ("SELECT * FROM t WHERE id = ? OR b = 1", (2,), True),
        ("SELECT * FROM t WHERE NOT id = ?", (2,), True),
        ("SELECT * FROM t WHERE b - id = ?", (2,), True),
        ("SELECT * FROM t WHERE id = ? + b", (2,), True),
        ("SELECT * FROM t WHERE a = ?", (2,), True),
        ("SELECT * FROM (SELECT * FROM t) WHERE id = ?", (2,), True),
        ("PRAGMA something_new", (), True),
        ("INSERT INTO t (id) VALUES (?)", (2,), True),
        ("UPDATE t SET id = ? WHERE b = ?", (1, 5), True),
        ("DELETE FROM t WHERE id = ?", (2,), False),
    ],
)
def test_statements_depend_by_their_tables_and_keys(
    sql: str, parameters: tuple[Any, ...], expected: bool
) -> None:
    """Only what the WHERE surely tells apart is independent; what is not understood never is."""
    assert expected == disturbs(WRITE, statement(sql, *parameters, database="elsewhere"))


def test_writers_of_one_sqlite_file_depend_on_each_other() -> None:
    """Whatever their tables are, one at a time has written; readers have no such lock."""
    assert disturbs(statement("DELETE FROM t"), statement("DELETE FROM u"))
    assert not disturbs(BY_ID, BY_OTHER_ID)
    assert not disturbs(statement("SELECT * FROM t"), statement("DELETE FROM u", is_open=True))


def test_a_transaction_that_has_its_snapshot_reads_alone() -> None:
    """After its first read a transaction of SQLite depends on no other's commit."""
    later = statement("SELECT * FROM t", is_open=True, has_read=True)
    first = statement("SELECT * FROM t", is_open=True)
    writer = statement("DELETE FROM t")
    assert not disturbs(later, writer)
    assert disturbs(first, writer)
