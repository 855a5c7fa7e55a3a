"""Which troubles does the overview page have a button for? Each is one rule for calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from xpay_flow import messages
from xpay_flow.errors import InvalidValue, quoted

from .faults import ApiFault, ApiFaultName

_LAG_S = 60.0
_ALL_REFUND_READS = "/payments/refund*"


@attrs.frozen
class Trouble:
    """A button: what it shows, and the rule that it puts in force."""

    title: str
    rule: ApiFault


def _next_refund(fault: ApiFaultName, *, took_effect: bool = False) -> ApiFault:
    return ApiFault(fault=fault, path=messages.REFUND_PATH, times=1, took_effect=took_effect)


TROUBLES: Final[Mapping[str, Trouble]] = {
    "refund_answer_lost": Trouble(
        "Lose the answer to the next refund, after its effect", _next_refund("lose_answer")
    ),
    "refund_request_lost": Trouble(
        "Lose the next refund request, before its effect", _next_refund("lose_request")
    ),
    "refund_500": Trouble(
        "Answer the next refund with 500 after its effect, and replay that under its key",
        _next_refund("error_json", took_effect=True),
    ),
    "refund_500_no_effect": Trouble(
        "Answer the next refund with 500 without effect, and replay that under its key",
        _next_refund("error_json"),
    ),
    "cancel_answer_lost": Trouble(
        "Lose the answer to the next cancel, after its effect",
        ApiFault(fault="lose_answer", path=messages.CANCEL_INTENT_PATH + "*", times=1),
    ),
    "list_lags": Trouble(
        f"Have the list of intents lag by {_LAG_S:.0f} s",
        ApiFault(fault="lag", path=messages.LIST_INTENTS_PATH, method="GET", seconds=_LAG_S),
    ),
    "refunds_lag": Trouble(
        f"Have the lists of refunds lag by {_LAG_S:.0f} s",
        ApiFault(fault="lag", path=_ALL_REFUND_READS, method="GET", seconds=_LAG_S),
    ),
}


def trouble(name: str) -> ApiFault:
    """The rule of a button; InvalidValue for one that does not exist."""
    if name not in TROUBLES:
        raise InvalidValue(f"{quoted(name)} is not one of {', '.join(TROUBLES)}")
    return TROUBLES[name].rule
