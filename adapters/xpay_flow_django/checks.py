"""Which settings make a project unfit to take payments? The system checks of `manage.py check`.

`check` looks at settings and URLs; with `--database default` also at the database itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

from django.conf import settings as project
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as Caution
from django.db import DatabaseError, InterfaceError, connections

from xpay_flow.adapter_kit import CHECKOUT
from xpay_flow.errors import XPayFlowError
from xpay_flow.settings import Settings

from . import pooler
from .conf import database_alias, flow_settings, is_behind_pooler
from .database import NO_AUTOCOMMIT, VENDORS
from .web import PATH, views_in

TAG: Final = "xpay_flow"
# As Django's own test runner names the database that it makes for a run.
_OF_TESTS: Final = "file:memorydb_"


def register_all() -> None:
    """Have these run with Django's own."""
    register(check_settings, TAG)
    register(check_urls, TAG)
    register(check_database, TAG, Tags.database)


def check_settings(**_: Any) -> list[CheckMessage]:
    """Keys and limits, and our entry in `DATABASES`."""
    try:
        found = flow_settings()
        is_behind_pooler()
    except XPayFlowError as error:
        # The first line is a heading; each other one names a setting and never its value.
        lines = str(error).splitlines()
        return [_error(text.strip(), "E001") for text in lines[1:] or lines]
    return [*chain(_of_mode(found), _of_body(found), _of_declared(found))]


def check_urls(**_: Any) -> list[CheckMessage]:
    """Whether the routes are there, and nothing has been put around them that would harm."""
    if not getattr(project, "ROOT_URLCONF", None):
        return []
    views = [*views_in()]
    if not views:
        text = "no URLconf includes xpay_flow_django.routes(flow), so xPay cannot reach us"
        return [_warning(text, "W002", 'path("xpay/", include(xpay_flow_django.routes(flow)))')]
    return [*chain.from_iterable(_of_view(view) for view in views)]


def check_database(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Whether a commit of this database survives a power cut, and ends in time."""
    try:
        alias = database_alias()
    except XPayFlowError:
        return []  # `check_settings` reports it.
    if alias not in (databases or ()):
        return []
    try:
        with connections[alias].cursor() as cursor:
            look = {"sqlite": _of_sqlite, "postgresql": _of_postgresql}
            messages = [*look.get(connections[alias].vendor, _of_nothing)(cursor)]
        return [*messages, *_of_pooler(alias)]
    except (DatabaseError, InterfaceError) as error:
        return [_error(f"the database {alias!r} cannot be reached: {error}", "E008")]


def _of_mode(found: Settings) -> Iterator[CheckMessage]:
    if project.DEBUG and found.mode == "live":
        text = "DEBUG is on in live mode: a page about an error shows what the request held"
        yield _error(text, "E002", "set DEBUG = False, or use xPay's test keys")


def _of_body(found: Settings) -> Iterator[CheckMessage]:
    limit = project.DATA_UPLOAD_MAX_MEMORY_SIZE
    if limit is not None and limit < found.body_bytes_max:
        yield _warning(
            f"DATA_UPLOAD_MAX_MEMORY_SIZE is {limit}, below the {found.body_bytes_max} bytes that "
            "a webhook may have: a middleware that reads request.body would refuse one with 400",
            "W001",
            "raise it, or lower BODY_BYTES_MAX in XPAY_FLOW",
        )


def _of_declared(found: Settings) -> Iterator[CheckMessage]:
    alias = database_alias()
    if alias not in project.DATABASES:
        yield _error(f"XPAY_FLOW names the database {alias!r}, and DATABASES has none", "E003")
        return
    declared = connections.settings[alias]
    vendor = connections[alias].vendor
    if vendor not in VENDORS:
        yield _error(f"there is no store for {vendor}; there is one for {VENDORS}", "E004")
    if not declared["AUTOCOMMIT"]:
        yield _error(NO_AUTOCOMMIT, "E005")
    if vendor == "sqlite":
        yield from _of_sqlite_options(declared, found)


def _of_sqlite_options(declared: Any, found: Settings) -> Iterator[CheckMessage]:
    name = str(declared["NAME"])
    if (name == ":memory:" or "mode=memory" in name) and not name.startswith(_OF_TESTS):
        yield _error("a database in memory loses payments", "E006")
    # What Python's driver waits for another writer, unless an option changes it.
    wait_s = declared["OPTIONS"].get("timeout", 5.0)
    if wait_s > found.webhook_deadline_s:
        yield _warning(
            f"a writer waits up to {wait_s:g} s for another, and a webhook must be answered "
            f"within {found.webhook_deadline_s:g} s",
            "W003",
            'set "OPTIONS": {"timeout": 0.7} in DATABASES',
        )


def _of_view(view: Any) -> Iterator[CheckMessage]:
    atomic = {a for a in project.DATABASES if connections.settings[a]["ATOMIC_REQUESTS"]}
    exempt: set[str] = getattr(view, "_non_atomic_requests", atomic - atomic)
    if atomic - exempt:
        text = "ATOMIC_REQUESTS wraps a view of xpay-flow: a webhook would be answered too early"
        yield _error(text, "E007", "include the routes as they are, without a decorator")
    if not getattr(view, "csrf_exempt", False) and getattr(view, PATH, None) != CHECKOUT:
        text = "a view of xpay-flow wants a CSRF token, which xPay does not have"
        yield _error(text, "E009", "include the routes as they are, without a decorator")


def _of_sqlite(cursor: Any) -> Iterator[CheckMessage]:
    cursor.execute("PRAGMA synchronous")
    if cursor.fetchone()[0] < 2:
        text = "SQLite is set not to wait for the disk: a power cut loses acknowledged payments"
        yield _error(text, "E010", "leave PRAGMA synchronous at FULL")


def _of_postgresql(cursor: Any) -> Iterator[CheckMessage]:
    names = ("fsync", "full_page_writes", "synchronous_commit", "statement_timeout")
    shown: dict[str, str] = {}
    for name in names:
        cursor.execute(f"SHOW {name}")
        shown[name] = cursor.fetchone()[0]
    off = [name for name in names[:3] if shown[name] == "off"]
    if off:
        text = f"{' and '.join(off)} is off: a crash of the server loses acknowledged payments"
        yield _error(text, "E010", "leave it on, or set it for this database and user")
    if shown["statement_timeout"] == "0":
        text = "a statement may wait without a limit, and a webhook must be answered in time"
        hint = 'set "OPTIONS": {"options": "-c statement_timeout=1200"} in DATABASES'
        if is_behind_pooler():
            hint = "set it for the user: ALTER ROLE shop SET statement_timeout = 1200"
        yield _warning(text, "W004", hint)


def _of_pooler(alias: str) -> Iterator[CheckMessage]:
    if connections[alias].vendor != "postgresql":
        return
    if not is_behind_pooler():
        if pooler.is_found(alias):
            yield _error(pooler.ADD_SETTING, "E011", pooler.HINT)
    elif connections[alias].settings_dict["OPTIONS"].get("prepare_threshold") is not None:
        text = "statements are prepared, which a pooler in transaction mode mixes up"
        yield _error(text, "E012", 'leave "prepare_threshold" out of OPTIONS')


def _of_nothing(_: Any) -> Iterator[CheckMessage]:
    yield from ()


def _error(text: str, number: str, hint: str | None = None) -> CheckMessage:
    return Error(text, hint=hint, id=f"{TAG}.{number}")


def _warning(text: str, number: str, hint: str | None = None) -> CheckMessage:
    return Caution(text, hint=hint, id=f"{TAG}.{number}")
