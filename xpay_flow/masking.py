"""What of a foreign text is personal, and so masked? E-mail addresses, phone numbers, card numbers.

Texts of errors quote what was typed: xPay's answers, and what a shop's own handlers raise. They are
masked before they are raised, stored or logged. A name cannot be recognised, so it is not masked.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final, cast

# In place of what was masked.
MASK: Final = "[…]"

# A text is cut to this before it is searched: no error is worth more of a processor's time.
_CHARS_MAX: Final = 20_000
_CAUSES_MAX: Final = 16

# Of several, the first that fits at a place. Seven digits may be a phone number; fewer are amounts,
# codes and ports. Card numbers have 12 to 19 (ISO/IEC 7812). PostgreSQL quotes a row under DETAIL.
# The first group is kept as it is: times, addresses of machines and UUIDs name no person.
_PERSONAL: Final = re.compile(
    r"""
    (?P<kept>
        (?<!\w)\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?(?!\w)
        | (?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])
        | (?<!\w)[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?!\w)
    )
    | (?P<login> (?<=://)[^\s/@]{1,200}@ )
    | (?P<email> [^\s<>"'(),:;\[\]{}=&?/\\@]{1,64}(?:@|%40)[^\s<>"'(),:;\[\]{}=&?/\\@]{1,255} )
    | (?P<digits> (?<!\w)[+(]{0,2}\d(?:[ \t().\-/\u00a0]{0,3}\d){6,30}(?!\w) )
    | (?P<card> \d{12,19} )
    | (?P<row> (?m:^)[ \t]*DETAIL:[\s\S]* )
    """,
    re.VERBOSE,
)


def masked(text: str) -> str:
    """The text without e-mail addresses, phone numbers, card numbers and logins in addresses.

    Masking it again changes nothing.
    """
    return _PERSONAL.sub(_mask, text[:_CHARS_MAX])


def _mask(found: re.Match[str]) -> str:
    whole = found.group()
    if found["kept"] is not None:
        return whole
    if found["card"] is not None and not _is_card(whole):
        return whole  # Within a longer word: an id of hex digits may have as many.
    return f"{MASK}@" if found["login"] is not None else MASK


def _is_card(digits: str) -> bool:
    """Whether the check digit of a card number is right (Luhn)."""
    doubled = (int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits)))
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0


def likeness(error: BaseException) -> BaseException:
    """An error that a log may show in place of this one: its type's name, traceback and causes.

    The texts are masked. Whatever else the error carries is left behind.
    """
    found: list[BaseException] = [error]
    for known in found:
        more = (known.__cause__, known.__context__, *_grouped(known))
        found += (each for each in more if each is not None and not _among(each, found))
        if len(found) >= _CAUSES_MAX:
            break
    alike = {id(each): _alike(each) for each in islice(found, _CAUSES_MAX)}
    for each in islice(found, _CAUSES_MAX):
        mine = alike[id(each)]
        mine.__cause__ = alike.get(id(each.__cause__))
        mine.__context__ = alike.get(id(each.__context__))
        mine.__suppress_context__ = each.__suppress_context__
    return alike[id(error)]


def _among(error: BaseException, found: list[BaseException]) -> bool:
    return any(error is each for each in found)


def _grouped(error: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return cast("BaseExceptionGroup[BaseException]", error).exceptions


def _alike(error: BaseException) -> BaseException:
    kind = type(error)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    made: BaseException = type(kind.__name__, (Exception,), names)(masked(text_of(error)))
    for note in getattr(error, "__notes__", ()):
        made.add_note(masked(str(note)))
    return made.with_traceback(error.__traceback__)


def text_of(error: BaseException) -> str:
    """The error's own text, whatever its class does."""
    try:
        return str(error)
    except Exception:
        return "(its text cannot be had)"
