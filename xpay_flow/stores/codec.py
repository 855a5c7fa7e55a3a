"""How is a record written down? As plain JSON, one object per class, read back by its annotations.

A member that has its default is not written, which keeps rows short and lets a new version add
members. A member that we do not know is refused: it was written by a newer version, and a record
about money is not to be half understood.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, Final, Literal, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

import attrs

from xpay_flow.errors import SchemaMismatch, quoted
from xpay_flow.events import Event
from xpay_flow.intent import Intent
from xpay_flow.money import Money
from xpay_flow.records import OutboxEntry, Record, RecordedEvent
from xpay_flow.wire import JSON

Document: TypeAlias = dict[str, JSON]

# Made once: `json.dumps` makes an encoder for each call that has options. What we write is made of
# values that never change, so it cannot hold itself.
_encode: Final = json.JSONEncoder(
    separators=(",", ":"), allow_nan=False, check_circular=False
).encode

# The checkout's address opens the page, so it is a secret; the snapshot keeps the one in use.
# Evidence follows from the events beside it, and those and the outbox are parts of their own.
_NOT_WRITTEN: Final[dict[type, tuple[str, ...]]] = {
    Event: ("url",),
    Intent: ("evidence",),
    Record: ("events", "outbox"),
}


def to_document(record: Record) -> Document:
    """The record with its events and outbox. What `from_document` makes of it equals `record`."""
    return {
        **head_to_document(record),
        "events": [_written(recorded) for recorded in record.events],
        "outbox": [_written(entry) for entry in record.outbox],
    }


def head_to_document(record: Record) -> Document:
    """The record without its events and outbox, for a store that keeps each in a row."""
    return _object(record)


def part_to_document(part: RecordedEvent | OutboxEntry) -> Document:
    """One event or one outbox entry, as `to_document` writes it."""
    return _object(part)


def from_document(document: Document) -> Record:
    """The record that `to_document` wrote, or that was put together again from its parts.

    Raises:
        SchemaMismatch: the document has a member that this version does not know, lacks one that
            it needs, or holds something else than this version writes.
    """
    record: Record = _read_object(Record, document)
    if record.intent and record.events:
        # No other code has seen the snapshot yet, and making both anew would take 10 µs.
        object.__setattr__(record.intent, "evidence", _ids(record.events))
    return record


def to_text(document: Document) -> str:
    """A document as a store of text keeps it: short, and plain ASCII."""
    return _encode(document)


def from_texts(head: str, events: Iterable[str], outbox: Iterable[str]) -> Record:
    """The record whose parts are these texts. Raises SchemaMismatch."""
    text = f'{{"events":[{",".join(events)}],"outbox":[{",".join(outbox)}],"head":{head}}}'
    try:
        whole: dict[str, Any] = json.loads(text)
        return from_document({**whole.pop("head"), **whole})
    except (ValueError, TypeError) as error:
        raise _mismatch(Record, str(error)) from None


def _ids(events: Iterable[RecordedEvent]) -> frozenset[str]:
    return frozenset([recorded.event.event_key for recorded in events])


# What JSON holds as it is.
_PLAIN: Final = (str, int, bool, types.NoneType)


# --- writing -------------------------------------------------------------------------------------


def _object(value: object) -> Document:
    # mypy takes the __hash__ that a class gives its instances for the class's own.
    return _writer(type(value))(value)  # type: ignore[arg-type]


@cache
def _writer(kind: type) -> Callable[[object], Document]:
    """What writes objects of this class: a function made for it, as attrs makes its `__init__`.

    It compares each member with its default in a line of its own. A loop over names and defaults
    takes five times as long, 10 µs more for the seven objects of a webhook's commit.
    """
    hints, left_out = get_type_hints(kind), _NOT_WRITTEN.get(kind, ())
    lines = ["def write(value):", "    document = {}"]
    names: dict[str, Any] = {"written": _written}
    for field in attrs.fields(kind):
        name, member = field.name, f"value.{field.name}"
        if name in left_out:
            continue
        is_plain = _plain(hints[name]) - {types.NoneType}
        put = f"document[{name!r}] = {member if is_plain else f'written({member})'}"
        if field.default is attrs.NOTHING:
            lines.append(f"    {put}")
        else:
            names[f"default_{name}"] = field.default
            lines.append(f"    if {member} != default_{name}: {put}")
    exec("\n".join([*lines, "    return document"]), names)
    written: Callable[[object], Document] = names["write"]
    return written


def _written(value: object) -> JSON:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, tuple):
        return [_written(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, frozenset):
        # Sets are of words; sorted, so that one record is always the same text.
        return list[JSON](sorted(cast("frozenset[str]", value)))
    return _object(value)


# --- reading -------------------------------------------------------------------------------------

_Read: TypeAlias = Callable[[JSON], Any]


def _read_object(kind: type, document: JSON) -> Any:
    if not isinstance(document, dict):
        raise _mismatch(kind, f"it is {quoted(document)}")
    known = _members_read(kind)
    members: dict[str, Any] = {}
    try:
        for name, value in document.items():
            # A call finds its arguments quicker by names that Python has seen than by ones that
            # were just parsed: it saves a third of the time of an object with 15 members.
            own_name, plain, read = known[name]
            members[own_name] = value if type(value) in plain else read(value)
        # What was stored was checked then; a currency may have been withdrawn since.
        build: Callable[..., Any] = Money.restored if kind is Money else kind
        return build(**members)
    except KeyError as error:
        raise _mismatch(kind, f"its member {error} is not known to this version") from None
    except (TypeError, ValueError) as error:
        raise _mismatch(kind, str(error)) from None


@cache
def _members_read(kind: type) -> dict[str, tuple[str, frozenset[type], _Read]]:
    """For each member its name as Python keeps names, the types that are read as they are, and
    what reads a value of another type, or refuses it."""
    hints = get_type_hints(kind)
    return {name: (name, _plain(hint), _reader(hint, kind)) for name, hint in hints.items()}


def _plain(hint: Any) -> frozenset[type]:
    """The types of JSON that a member with this annotation holds as they are.

    They are compared exactly: a bool is an int to Python, and not to us.
    """
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return frozenset(kind for kind in _PLAIN if kind in kinds)


def _mismatch(kind: type, what: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"a stored {kind.__name__} cannot be read: {what}. If a newer xpay-flow wrote it, "
        "run at least that version"
    )


def _reader(hint: Any, owner: type) -> _Read:
    """What reads a member of class `owner` whose annotation is `hint`."""
    origin, inner = get_origin(hint), get_args(hint)
    if attrs.has(hint):
        return partial(_read_object, hint)
    if origin is Literal:
        return partial(_read_word, frozenset(inner), owner)
    if origin in (Union, types.UnionType):
        (one,) = (_reader(kind, owner) for kind in inner if kind is not types.NoneType)
        return lambda value: None if value is None else one(value)
    if origin is tuple and inner[-1] is not Ellipsis:
        each = tuple(_reader(kind, owner) for kind in inner)
        return lambda value: tuple(
            read(item) for read, item in zip(each, _items(owner, value), strict=True)
        )
    if origin in (tuple, frozenset):
        one, collected = _reader(inner[0], owner), cast("Callable[[Iterable[Any]], Any]", origin)
        return lambda value: collected(map(one, _items(owner, value)))
    # A class that is none of these has no reader: it fails here, at the first use in any test.
    assert hint in (str, int, bool), f"{owner.__name__} has a member of a type we cannot store"
    return partial(_read_plain, hint, owner)


def _items(owner: type, value: JSON) -> list[JSON]:
    if not isinstance(value, list):
        raise _mismatch(owner, f"{quoted(value)} is not a list")
    return value


def _read_word(words: frozenset[str], owner: type, value: JSON) -> JSON:
    if value not in words:
        raise _mismatch(owner, f"{quoted(value)} is not a word that this version knows")
    return value


def _read_plain(kind: type, owner: type, value: JSON) -> JSON:
    # By exact type: a bool is an int to Python, and not to us.
    if type(value) is not kind:
        raise _mismatch(owner, f"{quoted(value)} is not of type {kind.__name__}")
    return value


def is_a_name(text: str) -> bool:
    """Whether anything can be filed under it: foreign names may hold what no column does."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False  # Half a character.
