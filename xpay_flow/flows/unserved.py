"""Is there work of modes and accounts that no setting names? It must not wait in silence.

Work is looked up by realm, so what belongs to another is never done by mistake. It is also never
done at all where no process serves that realm: after a change of keys, or of the mode.
"""

from __future__ import annotations

from typing import Final

import attrs

from ..effects import Command, due, history
from ..realm import UNNAMED, UNNAMED_WORD, Realms, in_words
from ..records import Work
from .context import FlowContext

WORKS: Final[tuple[Work, ...]] = ("deliver", "reconcile")
# Beyond any time that is stored: what waits for a retry is not served either.
AT_ANY_TIME_MS: Final = 2**53
COUNTED_MAX: Final = 1000
# More realms in one store are a mistake, of which these tell enough.
REALMS_MAX: Final = 20


@attrs.frozen(kw_only=True)
class UnservedWork:
    """Work of one realm that the settings do not name.

    Args:
        deliver, reconcile: how many records have such work, up to 1000.
    """

    realm: str
    deliver: int
    reconcile: int

    def __str__(self) -> str:
        return (
            f"{_number(self.deliver)} payment(s) with pending handler calls and "
            f"{_number(self.reconcile)} open one(s) belong to {in_words(self.realm)}, which no "
            f"setting names, so no process works on them: {_remedy(self.realm)}"
        )


def _remedy(realm: str) -> str:
    if realm == UNNAMED:
        return f"if they are this account's, add {UNNAMED_WORD} to XPAY_EARLIER_ACCOUNTS"
    mode, _, account = realm.partition("/")
    return (
        f"if this account had that name, add {account} to XPAY_EARLIER_ACCOUNTS in {mode} mode; "
        f"if others serve it, add {realm} to XPAY_OTHER_ACCOUNTS"
    )


def _number(counted: int) -> str:
    return f"{counted} or more" if counted >= COUNTED_MAX else str(counted)


def unserved_work(context: FlowContext) -> Command[tuple[UnservedWork, ...]]:
    """What waits, now or later, in realms that the settings name nowhere."""
    found: list[UnservedWork] = []
    known = context.settings.known_realms
    for _ in range(REALMS_MAX):
        key = yield from _some_key(known.rest)
        if key is None:
            break
        records = yield from history(key, everywhere=True)
        for realm in dict.fromkeys(record.realm for record in records):
            found.append((yield from _counted(realm)))
            known = Realms((*known.names, realm))
    return tuple(found)


def _counted(realm: str) -> Command[UnservedWork]:
    of_it = Realms((realm,))
    deliver = yield from due("deliver", AT_ANY_TIME_MS, COUNTED_MAX, of_it)
    reconcile = yield from due("reconcile", AT_ANY_TIME_MS, COUNTED_MAX, of_it)
    return UnservedWork(realm=realm, deliver=len(deliver), reconcile=len(reconcile))


def _some_key(realms: Realms) -> Command[str | None]:
    for work in WORKS:
        for key in (yield from due(work, AT_ANY_TIME_MS, 1, realms)):
            return key
    return None
