"""How is a timeline printed in a terminal? A header and a table, the same for every command."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from xpay_flow import Timeline
from xpay_flow.drawing.sequence import tone_of
from xpay_flow.drawing.text import cut, elapsed
from xpay_flow.realm import in_words
from xpay_flow.timeline import Entry

from .needs import rich as rich  # first, so that a missing package is named

# Where output is no terminal its width is not known; a log can take a long line.
WIDTH_ELSEWHERE: Final = 132
CHARS_MAX: Final = 200
# A sign as well as a colour, since many logs have none.
_SIGNS: Final = {"good": "✓", "plain": "·", "warn": "!", "bad": "✗"}
_STYLES: Final = {"good": "green", "plain": "dim", "warn": "yellow", "bad": "bold red"}


def console() -> Console:
    """Standard output as it is now."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH_ELSEWHERE)


def print_timeline(timeline: Timeline) -> None:
    """Print one payment's timeline."""
    out = console()
    out.print(header_of(timeline))
    out.print(table_of(timeline))


def header_of(timeline: Timeline) -> Text:
    """Order, state and money, and the reasons for attention."""
    intent = timeline.intent
    if intent is None:
        parked = Text(f"{cut(timeline.key, CHARS_MAX)}: parked, unmatched", style="bold")
        return parked.append_text(_whose(timeline))
    header = Text.assemble(
        (cut(intent.receipt_id, CHARS_MAX), "bold"),
        f"  {intent.money}  ",
        (cut(intent.state, CHARS_MAX), "bold"),
        f"  (attempt {intent.attempt}, {intent.id}, xPay's {intent.x_intent_id or 'not known'})",
    )
    header.append_text(_whose(timeline))
    if intent.refund_status != "none":
        header.append(f"\nrefunded: {intent.refund_status}, {intent.refunded_minor} minor units")
    if intent.dispute_status != "none":
        header.append(f"\ndispute: {intent.dispute_status}")
    if intent.attention:
        words = cut(", ".join(intent.attention), CHARS_MAX)
        header.append(f"\nneeds attention: {words}", "bold red")
    return header


def _whose(timeline: Timeline) -> Text:
    """Its mode and account; marked where the settings name others."""
    realm = in_words(timeline.realm)
    if timeline.is_ours:
        return Text(f"\n{realm}", style="dim")
    return Text(f"\nof another mode or account: {realm}", style="bold yellow")


def table_of(timeline: Timeline) -> Table:
    """One row for each entry, in order."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("after", "who", "what", "verdict", "why"):
        table.add_column(name, overflow="fold", no_wrap=name in ("after", "who", "verdict"))
    for entry in timeline.entries:
        table.add_row(*_cells(entry, timeline.entries[0].at_ms))
    return table


def _cells(entry: Entry, start_ms: int) -> tuple[Text, ...]:
    """Made of Text, since foreign words must not be read as markup."""
    tone = tone_of(entry)
    return (
        Text(elapsed(entry.at_ms - start_ms), justify="right"),
        Text(entry.who),
        Text.assemble(cut(entry.what, CHARS_MAX), (f"  {cut(entry.how, CHARS_MAX)}", "dim")),
        Text(f"{_SIGNS[tone]} {cut(entry.verdict, CHARS_MAX)}", style=_STYLES[tone]),
        Text(cut(entry.why, CHARS_MAX)),
    )
