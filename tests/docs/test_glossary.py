"""The glossary has every term of art, and what users see has no old word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, product
from types import ModuleType
from typing import Any, get_args

import attrs
import click
import pytest

import xpay_flow
from xpay_flow import (
    LIFECYCLE,
    Decision,
    checker,
    decide,
    effects,
    errors,
    events,
    intent,
    ports,
    records,
    sample_records,
    timeline,
)
from xpay_flow.checker.bounds import ALL_SCENES, FaultKind
from xpay_flow.checker.properties import ACKNOWLEDGED, CUSTOMER, GOALS_DELIVERED, PROPERTIES
from xpay_flow.cli.root import xpay_flow as command_line
from xpay_flow.lifecycle import Disposition
from xpay_flow.records import EntryStatus, HandlerName, Work
from xpay_flow.sandbox import FaultPlan, WebhookFault
from xpay_flow.settings import Settings
from xpay_flow.testing.world import World

from .pages import DOCS, read
from .plain_words import OLD_NAMES, old_words
from .test_completeness import reasons

GLOSSARY = read(DOCS / "reference" / "glossary.md")
ROW = re.compile(r"^\| (?:\*\*(?P<term>[^*]+)\*\*|`(?P<code>[^`]+)`) \| (?P<meaning>.+) \| .+ \|$")
ROWS = [found for _, line in GLOSSARY.prose if (found := ROW.match(line))]
TERMS = {row["term"] or row["code"] for row in ROWS}
TEXT = "\n".join(line for _, line in GLOSSARY.prose)

# Words of the field and of this library that have no list in the code.
BY_HAND = {
    *("intent", "attempt", "receipt", "webhook", "event", "idempotency key", "minor unit"),
    *("outbox", "outbox entry", "compare-and-set", "quarantine", "parked", "unmatched"),
    *("attention", "lifecycle", "disposition", "evidence", "timeline", "reconcile", "lease"),
    *("row lock", "superseded", "conflicting", "settle", "transactional handler", "delivery"),
    *("handler attempt", "bound", "fault", "scene", "store", "port", "flow", "effect", "query"),
    *("driver", "snapshot", "recorded event", "claim", "rate limit", "capability", "operator"),
    *("EXHAUSTED", "VIOLATED", "UNFINISHED", "counterexample", "seed", "promise"),
    *("group commit", "migration", "adapter", "sandbox", "deliver", "due"),
}
# How one handler attempt, and one reconciliation, can end.
OUTCOMES = {"started", "done", "failed", "missing", "lost", "dropped", "gave_up"}
RECONCILED = {
    *("learned", "nothing new", "unclear", "refused", "created", "attached", "unmatched"),
}
MODULES = (xpay_flow, ports, records, effects, errors, events, intent, timeline, checker)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("by hand", BY_HAND),
        ("dispositions", get_args(Disposition)),
        ("statuses", get_args(EntryStatus)),
        ("jobs", get_args(Work)),
        ("outcomes", OUTCOMES),
        ("outcomes of a reconciliation", RECONCILED),
    ],
)
def test_each_term_has_a_row(kind: str, words: set[str]) -> None:
    """Each term of art has a row of its own in the glossary."""
    assert set() == set(words) - TERMS, kind


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("states", LIFECYCLE.states),
        ("handlers", get_args(HandlerName)),
        ("attention reasons", reasons()),
        ("settings of time", ("lease_s", "reconcile_schedule_s")),
    ],
)
def test_each_word_of_a_list_is_named(kind: str, words: set[str]) -> None:
    """States, handlers and reasons are named, and their own pages explain them."""
    assert set() == {word for word in words if f"`{word}`" not in TEXT}, kind


def test_each_term_has_one_row_in_its_section() -> None:
    """A term has one row, but for a word that is a value in two lists, and one sentence in it."""
    codes = [row["code"] for row in ROWS if row["code"]]
    terms = [row["term"] for row in ROWS if row["term"]]
    assert [] == [term for term in terms if terms.count(term) > 1]
    assert [] == [code for code in codes if codes.count(code) > 1]
    assert [] == [row["meaning"] for row in ROWS if not row["meaning"].endswith(".")]


def test_a_row_that_is_missing_is_noticed() -> None:
    """The rows are read from the page, so that a missing one can be noticed."""
    assert 80 < len(TERMS)
    assert "realm of nothing" not in TERMS


def exported(module: ModuleType) -> Iterator[str]:
    """The public names of a module's or package's own, with the members of its classes."""
    found = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (getattr(value, "__module__", None) or "").startswith(module.__name__)
    ]
    for name in found:
        yield name
        yield from members(getattr(module, name))


def members(value: Any) -> Iterator[str]:
    """The public attributes of a class of ours."""
    if isinstance(value, type) and value.__module__.startswith("xpay_flow"):
        fields = (field.name for field in attrs.fields(value)) if attrs.has(value) else ()
        yield from (n for n in {*vars(value), *fields} if not n.startswith("_"))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_no_exported_name_has_an_old_word(module: ModuleType) -> None:
    """No public name, nor a member of a public class, is old or holds an old word."""
    names = set(exported(module))
    assert names
    assert set() == {name for name in names if name in OLD_NAMES or old_words(name)}


def test_no_setting_has_an_old_word() -> None:
    """No setting's name or help holds an old word."""
    texts = [f"{f.name} {f.metadata.get('help', '')}" for f in attrs.fields(Settings)]
    assert [] == [text for text in texts if old_words(text)]


def commands(group: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, group
    if isinstance(group, click.Group):
        for sub, command in group.commands.items():
            yield from commands(command, f"{name} {sub}")


COMMANDS = dict(commands(command_line, "xpay-flow"))


@pytest.mark.parametrize("name", COMMANDS)
def test_no_help_of_a_command_has_an_old_word(name: str) -> None:
    """The help of no command, with its options and their choices, holds an old word."""
    command = COMMANDS[name]
    text = command.get_help(
        click.Context(
            command, info_name=name, max_content_width=200, help_option_names=["-h", "--help"]
        )
    )
    assert [] == old_words(f"{text}\n{command.short_help or ''}")


def test_no_name_of_the_checker_on_the_command_line_has_an_old_word() -> None:
    """Scenes, kinds of faults and promises, which a user types, hold no old word."""
    names = [*(scene.name for scene in ALL_SCENES), *get_args(FaultKind)]
    names += [*PROPERTIES, *GOALS_DELIVERED, *CUSTOMER, *ACKNOWLEDGED]
    assert [] == [name for name in names if old_words(name)]


def rows() -> Iterator[timeline.Entry]:
    """The timelines of some eventful payments."""
    faults = FaultPlan(webhooks=(WebhookFault(fault="lose", event_type="intent.created"),))
    world = World(faults=faults, retry_schedule_s=(5,))

    @world.flow.on_refunded
    def broken(payment: object) -> None:
        raise RuntimeError("the printer is out of paper")

    for number, acts in enumerate(
        (
            ("decline", "pay", "refund", "dispute"),
            ("cancel",),
            ("open_checkout", "pay"),
            (),
        )
    ):
        x_intent_id = world.start_checkout(receipt_id=f"order-{number}").x_intent_id
        for act in acts:
            getattr(world.xpay, act)(x_intent_id)
            world.settle()
        for _ in range(3):
            world.advance(90)
            world.flow.deliver()
            world.flow.reconcile()
            world.settle()
        yield from world.flow.timeline(f"order-{number}").entries


def test_no_row_of_a_timeline_has_an_old_word() -> None:
    """The words of a timeline's rows are those of the glossary."""
    found = list(rows())
    assert {"applied", "done", "failed"} <= {row.verdict for row in found}
    assert "handler_gave_up" in {row.what for row in found}
    texts = chain.from_iterable((r.who, r.how, r.verdict, r.why) for r in found)
    assert [] == [text for text in texts if old_words(text)]


def decisions() -> Iterator[Decision]:
    """A decision on every kind of event in every state, the money right and wrong."""
    first = sample_records.attempt().record.intent
    assert first is not None
    for state, kind, amount_minor in product(LIFECYCLE.states, LIFECYCLE.events, (1999, 1)):
        before = attrs.evolve(first, state=state, evidence=frozenset({"whe_1#another"}))
        for event_id in ("whe_1", "whe_2"):
            event = attrs.evolve(
                sample_records.paid(), event_id=event_id, kind=kind, amount_minor=amount_minor
            )
            yield decide(before, event)


def test_no_reason_of_a_decision_has_an_old_word() -> None:
    """The sentence of each decision, which a timeline shows, holds no old word."""
    found = list(decisions())
    expected = set(get_args(Disposition)) - {"duplicate", "quarantined"}
    assert expected <= {decision.disposition for decision in found}
    assert set() == {decision.why for decision in found if old_words(decision.why)}


@pytest.mark.parametrize("name", sorted(OLD_NAMES & {"Terms", "Asked", "Owed", "forward"}))
def test_an_old_name_would_be_noticed(name: str) -> None:
    """An old name fails the check of exported names, whether or not its words are old."""
    module = ModuleType("a_module")
    setattr(module, name, object())
    module.__all__ = [name]  # type: ignore[attr-defined]  # as a package sets it
    assert [name] == [n for n in exported(module) if n in OLD_NAMES or old_words(n)]
