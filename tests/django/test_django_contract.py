"""Between any two statements of Django's ORM the contract holds, and what is wrong is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import attrs
import django_kit as kit
import pytest
from budgets import BUDGET_S, Held
from django.db import connections
from django.test import override_settings

from xpay_flow import sample_records as b
from xpay_flow.checker.contract import SCENES, ContractBound, ContractResult, Scene, check_store
from xpay_flow.checker.contract.judging import Rule
from xpay_flow.checker.contract.targets import contract_of
from xpay_flow.events import EventIdentity
from xpay_flow.records import Change, Record, for_deciding
from xpay_flow.stores.codec import from_texts
from xpay_flow.stores.rows import entry_row, intent_row
from xpay_flow_django import DjangoStore, writing
from xpay_flow_django.models import Intent, OutboxEntry

# A race for one record, and a reader of it: what the planted stores are wrong in shows here.
RACE, READ = (
    next(scene for scene in SCENES if scene.name == name)
    for name in ("two writers", "a writer and a reader")
)
ONE_SWITCH: Final = ContractBound(switches=1, seconds_max=BUDGET_S)
DRIVERS: Final = {kit.SQLITE: "sqlite3", kit.POSTGRESQL: "psycopg"}


def checked(
    alias: str, make: Callable[[str], DjangoStore], scenes: Sequence[Scene]
) -> ContractResult:
    """The verdict over a store, in a database of its own."""
    with DjangoStore.for_check(f"django://{alias}") as its:

        def made() -> DjangoStore:
            its.make()
            return make(alias)

        return check_store(made, reset=its.reset, bound=ONE_SWITCH, scenes=scenes)


def test_the_store_keeps_the_contract(alias: str, holds: Held) -> None:
    """DjangoStore gives what is right, at every statement of either driver and in every crash."""
    result = checked(alias, DjangoStore, (RACE, READ))
    holds(result.verdict, result.total("runs"), 50, result.as_text())
    assert (DRIVERS[alias],) == result.seen


def test_a_project_that_is_debugged_keeps_the_contract(alias: str, holds: Held) -> None:
    """With DEBUG, Django asks the database more, and what fails there is unavailable, too."""
    with override_settings(DEBUG=True):
        result = checked(alias, DjangoStore, (RACE,))
    holds(result.verdict, result.total("runs"), 50, result.as_text())


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_the_store_keeps_the_contract_in_all_scenes(alias: str) -> None:
    """The same by its URL, in every scene, with up to two switches in the middle of a call."""
    result = contract_of(f"django://{alias}")
    assert "EXHAUSTED" == result.verdict, result.as_text()


def test_the_database_of_the_project_is_not_touched(alias: str) -> None:
    """What is checked has a database of its own, which is gone afterwards."""
    before = dict(connections[alias].settings_dict)
    made = DjangoStore(alias)
    with DjangoStore.for_check(f"django://{alias}") as its:
        assert before["NAME"] != connections[alias].settings_dict["NAME"]
        its.make().commit(b.attempt())
        its.reset()
        assert [] == list(its.make().recent(1))
        its.make().commit(b.attempt())
    assert before == connections[alias].settings_dict
    assert [] == list(made.recent(1))


# --- planted -------------------------------------------------------------------------------------


def _by_key_alone(change: Change, using: str) -> bool:
    """The record takes its place, whichever version is there."""
    row = intent_row(change.record)
    if not change.expected_version:
        Intent.objects.using(using).create(**row)
        return True
    return Intent.objects.using(using).filter(record_key=row["record_key"]).update(**row) == 1


class VersionNotChecked(DjangoStore):
    """A change of what exists takes its place, whichever version that is."""

    put_head: Any = staticmethod(_by_key_alone)


class ReadsFirst(DjangoStore):
    """Reads the version and compares, and then writes whatever is there meanwhile."""

    put_head: Any = staticmethod(_by_key_alone)

    def commit(self, change: Change) -> bool:
        expected = change.expected_version
        if expected and [expected] != [found.version for found in self.load(change.record.key)]:
            return False
        return super().commit(change)


class EntriesLater(DjangoStore):
    """The outbox is saved in a second transaction."""

    def commit(self, change: Change) -> bool:
        if not super().commit(attrs.evolve(change, changed_entries=())):
            return False
        self._database.write(partial(_put_entries, change, self._database.alias))
        return True


def _put_entries(change: Change, using: str) -> None:
    for entry in change.changed_entries:
        row = entry_row(change.record.key, entry)
        OutboxEntry.objects.using(using).update_or_create(
            record_id=row.pop("record_key"), entry_id=row.pop("entry_id"), defaults=row
        )


class TornLoad(DjangoStore):
    """Reads the row and then its parts, of which the second may be newer."""

    def load(self, alias: str, event: EventIdentity | None = None) -> Sequence[Record]:
        return [for_deciding(record, event) for record in self.history(alias)]

    def history(self, alias: str) -> Sequence[Record]:
        found = Intent.objects.using(self._database.alias).filter(named__alias=alias)
        return [
            from_texts(
                intent.document,
                intent.events.order_by("seq").values_list("document", flat=True),
                intent.outbox.order_by("seq").values_list("document", flat=True),
            )
            for intent in found.order_by("seq")
        ]


# Each wrong store, where that shows, the rule that it breaks, and how many switches and faults that
# takes.
PLANTED: Final[dict[type[DjangoStore], tuple[Scene, Rule, int]]] = {
    VersionNotChecked: (RACE, "lost-update", 0),
    ReadsFirst: (RACE, "lost-update", 1),
    EntriesLater: (RACE, "half-applied", 1),
    TornLoad: (READ, "torn-read", 1),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_wrong_store_is_found(
    alias: str, kind: type[DjangoStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is wrong in one way is VIOLATED on either database, for that reason, twice."""
    monkeypatch.setattr(writing, "_put_head", getattr(kind, "put_head", writing._put_head))
    scene, rule, cost = PLANTED[kind]
    result = checked(alias, kind, [scene])
    assert "VIOLATED" == result.verdict, result.as_text()
    assert result.violation is not None
    assert (rule, cost) == (result.violation.rule, result.violation.cost), result.as_text()
    assert result.violation.confirmed
