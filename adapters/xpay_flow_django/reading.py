"""How is a record found? With one statement: record, events and outbox.

One statement is one view of the data, so the events are those of the very version that is read, at
any level of isolation and without a transaction around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

from django.db.models import F, IntegerField, OuterRef, QuerySet, Subquery, Value

from xpay_flow.events import EventIdentity
from xpay_flow.ports import FOUND_MAX, Lookup
from xpay_flow.realm import EVERY_REALM, Realms
from xpay_flow.records import Record, Work, believed_up_to
from xpay_flow.stores.codec import from_texts
from xpay_flow.stores.rows import alike

from .models import Intent, OutboxEntry, RecordedEvent

HEAD, EVENT, ENTRY = range(3)

# The record's seq, which part it is, that part's seq, its document.
_Row: TypeAlias = tuple[int, int, int, str]
# The documents of each part.
_Texts: TypeAlias = dict[int, list[str]]


def load(alias: str, event: EventIdentity | None, using: str) -> list[Record]:
    """The records that are filed under a name, oldest first, as far as deciding needs them."""
    heads = _named(alias, using)
    pending = OutboxEntry.objects.using(using).filter(
        record__seq__in=heads.values("seq"), status="pending"
    )
    contents = () if event is None else _alike(heads, event, using)
    parts = [_rows(found, EVENT, F("record__seq")) for found in contents]
    return _records(heads, [*parts, _rows(pending, ENTRY, F("record__seq"))], using, "of_seq")


def load_many(lookups: Sequence[Lookup], using: str) -> list[list[Record]]:
    """What `load` finds for each of these; what it saves is a hop into a thread for each."""
    return [load(alias, event, using) for alias, event in lookups]


def versions(keys: Sequence[str], using: str) -> dict[str, int]:
    """The version of each record with one of these keys."""
    found = Intent.objects.using(using).filter(record_key__in=keys)
    return dict(found.values_list("record_key", "version"))


def history(alias: str, using: str) -> list[Record]:
    """The records that are filed under a name, oldest first, whole."""
    return _whole(_named(alias, using), using, "of_seq")


def recent(limit: int, using: str, realms: Realms = EVERY_REALM, before: str = "") -> list[Record]:
    """The records of these realms that were first committed last, newest first, whole."""
    heads = of_realms(Intent.objects.using(using), realms).order_by("-seq")
    if before:
        of_key = Intent.objects.using(using).filter(record_key=before).values("seq")[:1]
        heads = heads.filter(seq__lt=Subquery(of_key))
    return _whole(heads[:limit], using, "-of_seq")


def due(work: Work, now_ms: int, limit: int, using: str, realms: Realms = EVERY_REALM) -> list[str]:
    """Keys of what is due in these realms, longest due first."""
    here = of_realms(Intent.objects.using(using), realms).order_by(f"{work}_at_ms", "record_key")
    keys = here.values_list("record_key", flat=True)
    found = list(keys.filter(**{f"{work}_at_ms__lte": now_ms})[:limit])
    if len(found) < limit:
        # What is due because the clock was set back since its time was set.
        after_all = {f"{work}_at_ms__gt": now_ms, "due_set_ms__gt": believed_up_to(now_ms)}
        found += keys.filter(**after_all)[: limit - len(found)]
    return found


def of_realms(found: Any, realms: Realms, column: str = "realm") -> Any:
    """Those of the rows that are of these realms."""
    if realms == EVERY_REALM:
        return found
    among = {f"{column}__in": realms.names}
    return found.exclude(**among) if realms.others else found.filter(**among)


def _named(alias: str, using: str) -> QuerySet[Intent]:
    return Intent.objects.using(using).filter(named__alias=alias).order_by("seq")[:FOUND_MAX]


def _alike(
    heads: QuerySet[Intent], event: EventIdentity, using: str
) -> Iterator[QuerySet[RecordedEvent]]:
    """The event itself, and for each record one other content under its id; see `alike`."""
    sent, events = alike(event), RecordedEvent.objects.using(using)
    within = heads.values("seq")
    yield events.filter(record__seq__in=within, event_key=sent["key"])
    others = events.filter(
        record=OuterRef("record_key"),
        event_key__gte=sent["first"],
        event_key__lt=sent["beyond"],
        event_id=sent["id"],
    ).exclude(event_key=sent["key"])
    first = Subquery(others.order_by("event_key").values("seq")[:1])
    of_each = Intent.objects.using(using).filter(seq__in=within).annotate(other=first)
    yield events.filter(seq__in=of_each.values("other"))


def _whole(heads: QuerySet[Intent], using: str, order: str) -> list[Record]:
    within = heads.values("seq")
    parts = [
        _rows(model.objects.using(using).filter(record__seq__in=within), part, F("record__seq"))
        for part, model in ((EVENT, RecordedEvent), (ENTRY, OutboxEntry))
    ]
    return _records(heads, parts, using, order)


def _records(heads: QuerySet[Intent], parts: Sequence[Any], using: str, order: str) -> list[Record]:
    """The records, each read as a row of its own and one for each of these parts."""
    found = Intent.objects.using(using).filter(seq__in=heads.values("seq"))
    rows = _rows(found, HEAD, F("seq")).union(*parts, all=True)
    return [_record(texts) for texts in _texts(rows.order_by(order, "part", "seq"))]


def _rows(parts: QuerySet[Any], part: int, of_seq: F) -> Any:
    numbered: Any = parts.annotate(of_seq=of_seq, part=Value(part, IntegerField()))
    return numbered.values_list("of_seq", "part", "seq", "document")


def _texts(rows: Iterable[_Row]) -> Iterator[_Texts]:
    """What each record is made of."""
    for _, parts in groupby(rows, itemgetter(0)):
        texts: _Texts = {HEAD: [], EVENT: [], ENTRY: []}
        for _, part, _, document in parts:
            texts[part].append(document)
        yield texts


def _record(texts: _Texts) -> Record:
    (head,) = texts[HEAD]
    return from_texts(head, texts[EVENT], texts[ENTRY])
