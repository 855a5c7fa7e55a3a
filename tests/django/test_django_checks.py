"""A project that is unfit to take payments is refused, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from io import StringIO
from typing import Any

import django_kit as kit
import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings
from django.urls import path

from xpay_flow import sample_records as b
from xpay_flow.testing.adapter_suite import World
from xpay_flow_django import open_async_flow, open_flow, routes
from xpay_flow_django.conf import flow_settings

GOOD: dict[str, Any] = {
    "MODE": "sandbox",
    "PUBLIC_KEY": "sandbox_public_key",
    "PRIVATE_KEY": "sandbox_private_key",
    "WEBHOOK_SECRETS": ["sandbox_signing_key_0123456789"],
}
LIVE: dict[str, Any] = {
    "MODE": "live",
    "PUBLIC_KEY": "pk_9f8e7d6c5b4a3210",
    "PRIVATE_KEY": "sk_8d21b6f05e9cab37",
    "WEBHOOK_SECRETS": ["whsec_4d9e1c7b2a8f60355e9cab37"],
}


def patterns() -> Any:
    return routes(World("").sync_flow())


@pytest.fixture
def project(sqlite: str) -> Iterator[ExitStack]:
    """A project with which nothing is wrong, to be changed."""
    with ExitStack() as stack:
        urlconf = kit.urlconf(kit.mounted(patterns()))
        stack.enter_context(override_settings(XPAY_FLOW=GOOD, ROOT_URLCONF=urlconf))
        yield stack


def found(*databases: str) -> list[str]:
    messages = run_checks(tags=["xpay_flow"], databases=list(databases))
    return [message.id.removeprefix("xpay_flow.") for message in messages]


def test_a_good_project_hears_nothing(project: ExitStack) -> None:
    """A project set up as documented has no findings."""
    assert [] == found(kit.SQLITE)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"XPAY_FLOW": {**GOOD, "WEBHOOK_SECRETS": []}}, ["E001"]),
        ({"XPAY_FLOW": {**GOOD, "PRIVATE_KEY": "", "PUBLIC_KEY": "x"}}, ["E001", "E001"]),
        ({"XPAY_FLOW": {**GOOD, "PUBLIK_KEY": "x"}}, ["E001"]),
        ({"XPAY_FLOW": {"MODE": "sandbox"}}, ["E001", "E001"]),
        ({"XPAY_FLOW": [1]}, ["E001"]),
        ({"XPAY_FLOW": LIVE, "DEBUG": True}, ["E002"]),
        ({"XPAY_FLOW": LIVE, "DEBUG": False}, []),
        ({"XPAY_FLOW": {**GOOD, "DATABASE": "nowhere"}}, ["E003"]),
        ({"DATA_UPLOAD_MAX_MEMORY_SIZE": 1000}, ["W001"]),
        ({"DATA_UPLOAD_MAX_MEMORY_SIZE": None}, []),
    ],
    ids=str,
)
def test_settings(project: ExitStack, changes: dict[str, Any], expected: list[str]) -> None:
    """Each mistake in the settings file has a message of its own."""
    project.enter_context(override_settings(**changes))
    assert expected == found()


def test_no_message_quotes_a_key(project: ExitStack) -> None:
    """A key may stand in the wrong place, and a message goes to a log."""
    given = {**GOOD, "MODE": "sk_0123456789abcdef", "PRIVATE_KEY": "a key with spaces"}
    project.enter_context(override_settings(XPAY_FLOW=given))
    text = " ".join(message.msg for message in run_checks(tags=["xpay_flow"]))
    assert "MODE" in text.upper()
    assert "sk_" not in text
    assert "spaces" not in text.replace("white space", "")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"AUTOCOMMIT": False}, ["E005"]),
        ({"NAME": ":memory:"}, ["E006"]),
        # That of Django's own test runner.
        ({"NAME": "file:memorydb_default?mode=memory&cache=shared"}, []),
        ({"OPTIONS": {}}, ["W003"]),
        ({"OPTIONS": {"timeout": 1.4}}, []),
        ({"ATOMIC_REQUESTS": True}, []),
    ],
    ids=str,
)
def test_databases(project: ExitStack, changes: dict[str, Any], expected: list[str]) -> None:
    """The entry in DATABASES must keep commits, in time."""
    project.enter_context(kit.database_settings(kit.SQLITE, **changes))
    assert expected == found()


def test_routes_that_are_missing(project: ExitStack) -> None:
    """A project that xPay cannot reach hears of it."""
    project.enter_context(override_settings(ROOT_URLCONF=kit.urlconf()))
    assert ["W002"] == found()


def test_routes_that_were_wrapped(project: ExitStack) -> None:
    """A view whose exemptions were taken away would answer too early, or refuse xPay."""
    spoilt = patterns()
    spoilt[0].callback.csrf_exempt = False
    spoilt[0].callback._non_atomic_requests = set()
    urlconf = kit.urlconf(path("shop/", ([*spoilt], "shop", None)))
    project.enter_context(override_settings(ROOT_URLCONF=urlconf))
    assert ["E009"] == found()
    project.enter_context(kit.database_settings(kit.SQLITE, ATOMIC_REQUESTS=True))
    assert ["E007", "E009"] == found()


def test_an_sqlite_that_does_not_wait_for_the_disk(project: ExitStack) -> None:
    """`check` reads the database's own value, since any connection may have changed it."""
    with connections[kit.SQLITE].cursor() as cursor:
        cursor.execute("PRAGMA synchronous = NORMAL")
        assert ["E010"] == found(kit.SQLITE)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-c statement_timeout=1200 -c synchronous_commit=local", []),
        ("-c statement_timeout=1200 -c synchronous_commit=off", ["E010"]),
        ("-c statement_timeout=0 -c synchronous_commit=local", ["W004"]),
    ],
)
def test_a_postgresql_that_forgets(
    project: ExitStack, postgresql: str, options: str, expected: list[str]
) -> None:
    """The server's own values for this connection decide."""
    given = {**GOOD, "DATABASE": postgresql}
    project.enter_context(override_settings(XPAY_FLOW=given))
    project.enter_context(kit.database_settings(postgresql, OPTIONS={"options": options}))
    with connections[postgresql].cursor() as cursor:
        cursor.execute("SHOW fsync")
        # The server of these tests does not wait for its disk.
        tests_only = ["E010"] if ("off",) == cursor.fetchone() else []
    assert sorted({*expected, *tests_only}) == sorted(set(found(postgresql)))


def test_a_database_that_does_not_answer(project: ExitStack) -> None:
    """A server that is not there is an error in words, and no trace."""
    given = {**GOOD, "DATABASE": kit.POSTGRESQL}
    project.enter_context(override_settings(XPAY_FLOW=given))
    nowhere = {"HOST": "127.0.0.1", "PORT": "1", "NAME": "x"}
    project.enter_context(kit.database_settings(kit.POSTGRESQL, **nowhere))
    assert ["E008"] == found(kit.POSTGRESQL)


# --- what the settings mean ----------------------------------------------------------------------


def test_the_environment_is_read_where_the_project_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A project may keep its keys in the environment alone."""
    for name in ("MODE", "PUBLIC_KEY", "PRIVATE_KEY"):
        monkeypatch.setenv(f"XPAY_{name}", GOOD[name])
    monkeypatch.setenv("XPAY_WEBHOOK_SECRETS", GOOD["WEBHOOK_SECRETS"][0])
    with override_settings(XPAY_FLOW={"DATABASE": kit.SQLITE}):
        from_environment = flow_settings()
    with override_settings(XPAY_FLOW=GOOD):
        assert from_environment == flow_settings()


def test_a_flow_is_opened_as_the_project_says(sqlite: str) -> None:
    """One line opens the flow, in either face."""
    with override_settings(XPAY_FLOW=GOOD):
        flow = open_flow(background=False)
        assert () == flow.deliver()
        flow.close()
        assert "sandbox" == open_async_flow(background=False).settings.mode


# --- the doctor ----------------------------------------------------------------------------------


def doctor() -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("xpay_doctor", stdout=out, no_color=True)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


def test_the_doctor_finds_nothing_wrong(project: ExitStack) -> None:
    """For a good project the doctor shows its settings and how much is due."""
    code, text = doctor()
    assert (0, True) == (code, text.endswith("Ready to take payments.\n"))
    assert "0 payment(s) have pending handler calls" in text


def test_the_doctor_reports_what_to_fix(project: ExitStack) -> None:
    """Each error has its remedy, and the exit code is 1."""
    project.enter_context(override_settings(XPAY_FLOW={**GOOD, "WEBHOOK_SECRETS": []}))
    project.enter_context(override_settings(DEBUG=True))
    code, text = doctor()
    assert (1, True) == (code, text.endswith("1 to fix.\n"))
    assert "webhook_secrets" in text


def test_the_doctor_notices_missing_tables(project: ExitStack) -> None:
    """Before the first migration the doctor names the command."""
    kit.point_at(kit.SQLITE, NAME=f"{kit.FOLDER.name}/never-migrated.db")
    code, text = doctor()
    assert (1, True) == (code, "manage.py migrate" in text)


# --- forgetting ----------------------------------------------------------------------------------


def forgetting(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command(*arguments, stdout=out, no_color=True)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


def test_erase_and_purge_are_commands(sqlite: str) -> None:
    """An order is erased by name, all by age; what is still needed is named, with exit code 3."""
    with override_settings(XPAY_FLOW=GOOD):
        with open_flow(background=False) as flow:
            realm = flow.settings.realm
            for step in (b.attempt(realm=realm), b.attempt("order-2", realm=realm)):
                assert flow.store.commit(step)
        code, text = forgetting("xpay_erase", "order-1")
        assert (3, True) == (code, text.startswith("order-1 (pi_order-1_1): erased, but for"))
        assert '"outcome": "due"' in forgetting("xpay_erase", "order-1", "--json")[1]
        code, text = forgetting("xpay_purge", "--older-than", "1")
        assert (3, True) == (code, text.startswith("0 payment(s) and unmatched event(s) erased"))
        assert "order-2 (pi_order-2_1)" in text
        with pytest.raises(CommandError, match="order-3"):
            forgetting("xpay_erase", "order-3")
