"""How is a record found? With one statement: record, facts and effects.

One statement is one view of the data, so the facts are those of the very version that is read, at
any level of isolation and without a transaction around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

from django.db.models import F, IntegerField, QuerySet, Value

from xpay_flow.ports import FOUND_MAX
from xpay_flow.records import Record, Work
from xpay_flow.stores.codec import from_texts

from .models import Effect, Fact, Intent

HEAD, FACT, EFFECT = range(3)

# The record's seq, which part it is, that part's seq, its document.
_Row: TypeAlias = tuple[int, int, int, str]


def named(alias: str, using: str) -> list[Record]:
    """The records that are filed under a name, oldest first, not too many."""
    heads = Intent.objects.using(using).filter(named__alias=alias).order_by("seq")[:FOUND_MAX]
    return _whole(heads, using, "of_seq")


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
    """The records of `heads`, each as a row of its own and one for each of its parts."""
    within = heads.values("seq")
    rows: Any = _rows(Intent.objects.using(using).filter(seq__in=within), HEAD, F("seq")).union(
        *(
            _rows(model.objects.using(using).filter(record__seq__in=within), part, F("record__seq"))
            for part, model in ((FACT, Fact), (EFFECT, Effect))
        ),
        all=True,
    )
    return _records(rows.order_by(order, "part", "seq"))


def _rows(parts: QuerySet[Any], part: int, of_seq: F) -> Any:
    numbered: Any = parts.annotate(of_seq=of_seq, part=Value(part, IntegerField()))
    return numbered.values_list("of_seq", "part", "seq", "document")


def _records(rows: Iterable[_Row]) -> list[Record]:
    return [_record(list(parts)) for _, parts in groupby(rows, itemgetter(0))]


def _record(rows: Sequence[_Row]) -> Record:
    texts: dict[int, list[str]] = {HEAD: [], FACT: [], EFFECT: []}
    for _, part, _, document in rows:
        texts[part].append(document)
    (head,) = texts[HEAD]
    return from_texts(head, texts[FACT], texts[EFFECT])
