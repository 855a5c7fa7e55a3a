"""What can the checker not see, and refuses by name? Inputs that no port gives."""

from __future__ import annotations

import os
import threading
import time
import uuid
from typing import Any

from xpay_flow.checker.bounds import BEGINNING, EVENTS, HANDLERS
from xpay_flow.checker.plain import PlainPorts
from xpay_flow.checker.shop import Shop
from xpay_flow.checkout_request import CheckoutRequest
from xpay_flow.endpoints import WebRequest
from xpay_flow.payment import Payment
from xpay_flow.xpay_api import Created

from .. import plain_shops as by_hand
from .mutant import REFUSED, Mutant, shop

# --- memory of the process -----------------------------------------------------------------------

SEEN: set[str] = set()
CACHE: dict[str, Any] = {}


async def remembers_in_the_process(request: WebRequest, ports: PlainPorts) -> int:
    """Events that were seen are kept in a set of the process, which others do not have."""
    event = by_hand.event_of(request)
    if event is not None and event["eventId"] in SEEN:
        return 200
    if event is not None:
        SEEN.add(event["eventId"])
    return await by_hand.correct(request, ports)


async def caches_the_order(request: WebRequest, ports: PlainPorts) -> int:
    """An order that was read once is kept in a dictionary, and answered from there for ever."""
    event = by_hand.event_of(request)
    if event is None:
        return 401
    if event["receiptId"] not in CACHE:
        CACHE[event["receiptId"]] = await by_hand.load_order(event, ports)
    return await by_hand.correct(request, ports)


def _webhook(name: str, bug: Any, ref: str = "") -> Mutant:
    """A webhook that does something else when it is run again with the same answers."""

    def made() -> Shop:
        # As in a process that has just begun.
        SEEN.clear()
        CACHE.clear()
        return Shop.plain(webhook=bug)

    return Mutant(
        name=name,
        bug=bug,
        promise=REFUSED,
        faults=0,
        scene=EVENTS,
        expects="which outlives it",
        make=made,
        reference=ref,
    )


# --- inputs that cannot be repeated --------------------------------------------------------------


def draws_a_key(request: CheckoutRequest, ports: PlainPorts) -> Created:
    """The idempotency key of a creation is drawn at random at each try."""
    created: Created = ports.xpay.create_intent(
        request.to_request("pi", "xpay_flow_intent"), str(uuid.uuid4())
    )
    return created


def is_late_by_the_wall(payment: Payment) -> None:
    """A handler refuses what is old by the clock on the wall."""
    if time.time() < 0:
        raise RuntimeError(payment.receipt_id)


def books_under_a_random_name(payment: Payment) -> None:
    """A handler books under a name that it draws anew at each try."""
    str(uuid.uuid4())


def works_in_a_thread(payment: Payment) -> None:
    """A handler hands its work to a thread without waiting for it, and is done."""
    threading.Thread(target=print).start()


def notes_it_in_a_file(payment: Payment) -> None:
    """A handler notes what it did in a file beside the store, which a crash takes apart."""
    with open("fulfilled.log", "a") as log:
        log.write(payment.receipt_id)


def reads_a_switch(payment: Payment) -> None:
    """A handler looks at a switch in the environment, which is another one in each process."""
    dict(os.environ)


def _handler(name: str, bug: Any, expects: str, ref: str = "") -> Mutant:
    """A shop that fulfils like this."""

    def made() -> Shop:
        return shop(handlers={**shop().handlers, "on_success": bug})

    return Mutant(
        name=name,
        bug=bug,
        promise=REFUSED,
        faults=0,
        scene=HANDLERS,
        expects=expects,
        make=made,
        reference=ref,
    )


HIDDEN = (
    _webhook(
        "seen in the process",
        remembers_in_the_process,
        "https://github.com/webrenew/unicon/issues/56",
    ),
    _webhook("cached in the process", caches_the_order),
    Mutant(
        name="key drawn at random",
        bug=draws_a_key,
        promise=REFUSED,
        faults=0,
        scene=BEGINNING,
        expects="uuid.uuid4 was called",
        make=lambda: Shop.plain(webhook=by_hand.correct, click=draws_a_key),
        reference="https://github.com/square/square-mcp-server/issues/31",
    ),
    _handler("clock on the wall", is_late_by_the_wall, "time.time was called"),
    _handler("random name", books_under_a_random_name, "uuid.uuid4 was called"),
    _handler("thread that is not joined", works_in_a_thread, "threading.Thread.start was called"),
    _handler("noted in a file", notes_it_in_a_file, "open was called"),
    _handler("switch in the environment", reads_a_switch, "os.environ was called"),
)
