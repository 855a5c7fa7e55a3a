"""The shipped flow on a new file of SQLite's, to be checked by name."""

from __future__ import annotations

import tempfile
from pathlib import Path

from xpay_flow import Flow, Settings
from xpay_flow.payment import Payment


def build() -> Flow:
    """The flow, with handlers that do nothing."""
    url = f"sqlite:///{Path(tempfile.mkdtemp()) / 'shop.db'}"
    flow = Flow.open(url, Settings.sandbox(), background=False)
    for register in (flow.on_success, flow.on_failed, flow.on_refunded, flow.on_attention):
        register(nothing)
    return flow


def nothing(_: Payment) -> None:
    """Due, called, and done."""
