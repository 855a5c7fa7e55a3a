"""How is a record found? With one statement: record, events and outbox.

One statement is one view of the data, so the events are those of the very version that is read, at
any level of isolation and without a transaction around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

from django.db.models import F, IntegerField, QuerySet, Value, Window
from django.db.models.functions import RowNumber

from xpay_flow.ports import FOUND_MAX
from xpay_flow.records import Record, Work
from xpay_flow.stores.codec import from_texts

from .models import Alias, Intent, OutboxEntry, RecordedEvent

HEAD, EVENT, ENTRY, NAME = range(4)

# The record's seq, which part it is, that part's seq, its document.
_Row: TypeAlias = tuple[int, int, int, str]
# The documents of each part, and the names that were asked for.
_Texts: TypeAlias = dict[int, list[str]]


def named(alias: str, using: str) -> list[Record]:
    """The records that are filed under a name, oldest first, not too many."""
    heads = Intent.objects.using(using).filter(named__alias=alias).order_by("seq")[:FOUND_MAX]
    return _whole(heads, using, "of_seq")


def named_many(aliases: Sequence[str], using: str) -> list[list[Record]]:
    """What `named` finds under each of these names, which all differ."""
    place = Window(RowNumber(), partition_by=F("alias"), order_by=F("record__seq").asc())
    names = Alias.objects.using(using).filter(alias__in=aliases)
    first = names.annotate(place=place).filter(place__lte=FOUND_MAX).values("record__seq")
    result = names.filter(record__seq__in=first).annotate(document=F("alias"))
    rows = _parts(first, using).union(_rows(result, NAME, F("record__seq")), all=True)
    found: dict[str, list[Record]] = {alias: [] for alias in aliases}
    for texts in _texts(rows.order_by("of_seq", "part", "seq")):
        record = _record(texts)
        for alias in texts[NAME]:
            found[alias].append(record)
    # One that many records have may have got some from another's first.
    return [records[:FOUND_MAX] for records in found.values()]


def recent(limit: int, using: str) -> list[Record]:
    """The records that were first committed last, newest first."""
    heads = Intent.objects.using(using).order_by("-seq")[:limit]
    return _whole(heads, using, "-of_seq")


def due(work: Work, now_ms: int, limit: int, using: str) -> list[str]:
    """Keys of what is due, longest due first."""
    late = Intent.objects.using(using).filter(**{f"{work}_at_ms__lte": now_ms})
    ordered = late.order_by(f"{work}_at_ms", "record_key")[:limit]
    return list(ordered.values_list("record_key", flat=True))


def _whole(heads: QuerySet[Intent], using: str, order: str) -> list[Record]:
    rows = _parts(heads.values("seq"), using).order_by(order, "part", "seq")
    return [_record(texts) for texts in _texts(rows)]


def _parts(within: QuerySet[Any, Any], using: str) -> Any:
    """The records with these numbers, each as a row of its own and one for each of its parts."""
    return _rows(Intent.objects.using(using).filter(seq__in=within), HEAD, F("seq")).union(
        *(
            _rows(model.objects.using(using).filter(record__seq__in=within), part, F("record__seq"))
            for part, model in ((EVENT, RecordedEvent), (ENTRY, OutboxEntry))
        ),
        all=True,
    )


def _rows(parts: QuerySet[Any], part: int, of_seq: F) -> Any:
    numbered: Any = parts.annotate(of_seq=of_seq, part=Value(part, IntegerField()))
    return numbered.values_list("of_seq", "part", "seq", "document")


def _texts(rows: Iterable[_Row]) -> Iterator[_Texts]:
    """What each record is made of."""
    for _, parts in groupby(rows, itemgetter(0)):
        texts: _Texts = {HEAD: [], EVENT: [], ENTRY: [], NAME: []}
        for _, part, _, document in parts:
            texts[part].append(document)
        yield texts


def _record(texts: _Texts) -> Record:
    (head,) = texts[HEAD]
    return from_texts(head, texts[EVENT], texts[ENTRY])
