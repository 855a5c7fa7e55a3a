"""`manage.py xpay_doctor`: can this project take payments, and if not, what is missing?

It looks and changes nothing; xPay is not called.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import ERROR, run_checks
from django.core.management.base import BaseCommand
from django.db import DEFAULT_DB_ALIAS

from xpay_flow import Flow, XPayFlowError
from xpay_flow.flows import UnservedWork
from xpay_flow_django.checks import TAG
from xpay_flow_django.conf import database_alias, flow_settings
from xpay_flow_django.models import Intent, OutboxEntry
from xpay_flow_django.stores import DjangoStore


class Command(BaseCommand):
    """See the module."""

    help = "Check settings, URLs and the database. Exit code 1 if something is wrong."
    # This command runs the checks itself and prints all findings.
    requires_system_checks = ()

    def handle(self, *_: Any, **__: Any) -> None:
        wrong = 0
        for is_wrong, text in self._findings():
            wrong += is_wrong
            style = self.style.ERROR if is_wrong else self.style.SUCCESS
            self.stdout.write(f"{style('wrong' if is_wrong else 'ok   ')}  {text}")
        self.stdout.write(f"\n{wrong} to fix." if wrong else "\nReady to take payments.")
        if wrong:
            raise SystemExit(1)

    def _findings(self) -> Iterator[tuple[bool, str]]:
        """For each finding: whether it is wrong, and its text."""
        for message in run_checks(tags=[TAG], databases=[_alias()]):
            hint = f" ({message.hint})" if message.hint else ""
            yield message.level >= ERROR, f"{message.msg}{hint}"
        try:
            yield False, _settings_summary()
        except XPayFlowError:
            return  # The checks have reported it.
        try:
            yield False, _store_summary()
            yield from ((True, str(work)) for work in _unserved())
        except XPayFlowError as error:
            yield True, str(error)


def _alias() -> str:
    try:
        return database_alias()
    except XPayFlowError:
        return DEFAULT_DB_ALIAS


def _settings_summary() -> str:
    found = flow_settings()
    return (
        f"payments are stored under {found.realm}: {found.mode} mode, "
        f"xPay at {found.base_url}, webhooks proved by "
        f"{found.require_signature} with {len(found.webhook_secrets)} signing key(s)"
    )


def _store_summary() -> str:
    alias, realms = database_alias(), flow_settings().realms
    store = DjangoStore(alias)
    pending = len(store.due("deliver", 2**53, 1000, realms))
    elsewhere = len(store.due("deliver", 2**53, 1000, realms.rest))
    given_up = OutboxEntry.objects.using(alias).filter(status="gave_up").count()
    flagged = Intent.objects.using(alias).filter(attention__isnull=False).count()
    parked = Intent.objects.using(alias).filter(intent_id__isnull=True).count()
    return (
        f"the tables are there: {pending} payment(s) have pending handler calls, "
        f"{given_up} handler call(s) are given up, {flagged} payment(s) need attention, "
        f"{parked} record(s) hold unmatched events, "
        f"{elsewhere} payment(s) of other modes or accounts have pending handler calls"
    )


def _unserved() -> tuple[UnservedWork, ...]:
    with Flow(DjangoStore(), flow_settings(), background=False) as flow:
        return flow.unserved_work()
