"""What could go wrong today? Bad days to choose from on the operator's page."""

from __future__ import annotations

from typing import Final

import attrs

from xpay_flow import messages
from xpay_flow.errors import InvalidValue, quoted
from xpay_flow.sandbox import ApiFault, FaultPlan, Sandbox, WebhookFault


@attrs.frozen(kw_only=True)
class Day:
    """A kind of day. `jammed`: packing fails."""

    title: str
    text: str
    faults: FaultPlan = attrs.field(factory=FaultPlan)
    jammed: bool = False


def _webhooks(*faults: WebhookFault) -> FaultPlan:
    return FaultPlan(webhooks=faults)


DAYS: Final = {
    "fine": Day(title="All is well", text="Every message arrives, once and at once."),
    "lost": Day(
        title="The success event is lost",
        text="No webhook reports a success. Some seconds later xPay's API does.",
        faults=_webhooks(WebhookFault(fault="lose", event_type=messages.INTENT_SUCCESS)),
    ),
    "late": Day(
        title="Webhooks come late",
        text="Six seconds late. The customer is back before them and waits.",
        faults=_webhooks(WebhookFault(fault="delay", seconds=6)),
    ),
    "thrice": Day(
        title="Everything comes three times",
        text="Each webhook is sent three times. The mug is packed once.",
        faults=_webhooks(WebhookFault(fault="duplicate", copies=2)),
    ),
    "forged": Day(
        title="Signatures are wrong at first",
        text="The first delivery of each webhook is refused; xPay sends it again 10 seconds later.",
        faults=_webhooks(WebhookFault(fault="wrong_signature", attempts=1)),
    ),
    "unanswered": Day(
        title="xPay does not answer",
        text="The next payment is created, but the answer is lost. It is not created twice.",
        faults=FaultPlan(
            api=(ApiFault(fault="lose_answer", path=messages.CREATE_INTENT_PATH, times=1),)
        ),
    ),
    "jammed": Day(
        title="Packing fails",
        text="Our own handler fails until it is fixed; then deliver again on the payment’s page.",
        jammed=True,
    ),
}


class Trouble:
    """The day in force."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.name = "fine"

    @property
    def jammed(self) -> bool:
        return DAYS[self.name].jammed

    def choose(self, name: str) -> None:
        """Puts a day in force; raises InvalidValue for one that there is not."""
        if name not in DAYS:
            raise InvalidValue(f"there is no day called {quoted(name)}")
        self._sandbox.set_faults(DAYS[name].faults)
        self.name = name
