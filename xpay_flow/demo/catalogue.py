"""What is for sale, and at what price? The browser names a mug; the price is decided here."""

from __future__ import annotations

from typing import Final

import attrs

from xpay_flow import Money


@attrs.frozen(kw_only=True)
class Mug:
    """One product. `kind` names its drawing."""

    kind: str
    name: str
    text: str
    price: Money


_FOR_SALE: Final = (
    Mug(
        kind="harbour",
        name="Harbour",
        text="Three waves in cobalt, for people who would rather be at sea.",
        price=Money(1900, "USD"),
    ),
    Mug(
        kind="meadow",
        name="Meadow",
        text="Leaves pressed into sage glaze. Holds a generous pot of tea.",
        price=Money(2200, "USD"),
    ),
    Mug(
        kind="nightshift",
        name="Night shift",
        text="A sky for the small hours. Larger than the others, on purpose.",
        price=Money(2650, "USD"),
    ),
    Mug(
        kind="sunrise",
        name="Sunrise",
        text="The first cup of the day, with the day on it.",
        price=Money(1950, "USD"),
    ),
    Mug(
        kind="terracotta",
        name="Terracotta",
        text="Half glazed, half bare clay. Warm in the hand.",
        price=Money(2400, "USD"),
    ),
    Mug(
        kind="confetti",
        name="Confetti",
        text="Thrown for birthdays, kept for Mondays.",
        price=Money(1799, "USD"),
    ),
)
MUGS: Final = {mug.kind: mug for mug in _FOR_SALE}
