"""Pictures say what the machine and the record say, whatever words those hold."""

from __future__ import annotations

import re
from xml.dom import minidom

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpay_flow import LIFECYCLE, Money, Timeline
from xpay_flow.drawing import (
    lifecycle_mermaid,
    lifecycle_svg,
    sequence_mermaid,
    sequence_svg,
)
from xpay_flow.drawing.lifecycle import moves_of
from xpay_flow.drawing.sequence import ENTRIES_MAX, arrows_of
from xpay_flow.drawing.text import cut, elapsed, mermaid
from xpay_flow.testing.world import World
from xpay_flow.timeline import Entry

HOSTILE = [
    "<script>alert(1)</script>",
    "]]>",
    "a\"b'c&d",
    "end",
    "x\nend\nloop",
    "a;b#quot;",
    "%%{init}%%",
    "\x00\u202e\ud800",
    "𝒳" * 500,
]


def texts_in(svg: str, element: str = "text") -> list[str]:
    document = minidom.parseString(svg.encode("utf-8", "strict"))
    return [
        "".join(child.data for child in node.childNodes if isinstance(child, minidom.Text))
        for node in document.getElementsByTagName(element)
    ]


def story() -> Timeline:
    world = World()
    checkout = world.start_checkout()
    world.flow.send_to_checkout(checkout.intent_id)
    world.settle()
    world.advance(4)
    world.xpay.decline(checkout.x_intent_id or "")
    world.settle()
    world.advance(90)
    world.xpay.pay(checkout.x_intent_id or "")
    world.settle()
    return world.flow.timeline("order-42")


def timeline_of(*entries: Entry) -> Timeline:
    return Timeline(key="k", intent=None, entries=entries, outbox=())


def entry(text: str, who: str = "xPay", verdict: str = "applied", at_ms: int = 0) -> Entry:
    return Entry(
        at_ms=at_ms,
        version=1,
        who=who,  # type: ignore[arg-type]  # hostile on purpose
        what=text,
        how=text,
        verdict=verdict,
        why=text,
        details=(("error_code", text),),
    )


# --- the lifecycle ---------------------------------------------------------------------------


def test_moves_are_those_cells_of_the_table_that_change_the_state() -> None:
    """The machine's moves, grouped by source and target, are the table's, and no other."""
    from_table = {
        (source, event, move.target)
        for (source, event), move in LIFECYCLE.cells.items()
        if move.target != source
    }

    from_picture = {
        (source, event, target)
        for (source, target), events in moves_of(LIFECYCLE).items()
        for event in events
    }

    assert from_table == from_picture


def test_mermaid_draws_every_move_and_nothing_else() -> None:
    """Each pair of states that a move joins is one arrow with all its events' names."""
    lines = lifecycle_mermaid(LIFECYCLE).splitlines()

    arrows = {line.strip() for line in lines if "-->" in line and "[*]" not in line}

    assert "stateDiagram-v2" == lines[0]
    assert {
        f"{source} --> {target} : {'<br/>'.join(events)}"
        for (source, target), events in moves_of(LIFECYCLE).items()
    } == arrows


def test_svg_names_every_state_and_every_event_that_moves() -> None:
    """States and events stand in the picture as text."""
    texts = texts_in(lifecycle_svg(LIFECYCLE))

    assert set(LIFECYCLE.states) <= set(texts)
    assert {event for events in moves_of(LIFECYCLE).values() for event in events} <= set(texts)


def test_svg_has_a_dot_for_each_pair_that_a_move_joins() -> None:
    """No move is left out where its label is shared with the one above."""
    assert len(moves_of(LIFECYCLE)) == lifecycle_svg(LIFECYCLE).count("<circle")


def test_the_current_state_is_marked_with_a_word() -> None:
    """Where the payment is can be seen without colours, and heard."""
    marked = lifecycle_svg(LIFECYCLE, "failed")

    assert 1 == texts_in(marked).count("here")
    assert "This payment is in state failed." in texts_in(marked, "desc")[0]
    assert "here" not in texts_in(lifecycle_svg(LIFECYCLE))


def test_the_picture_fits_a_page_of_a_thousand_pixels_at_nearly_full_size() -> None:
    """The shipped lifecycle is at most a tenth wider than 1,000 pixels."""
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', lifecycle_svg(LIFECYCLE))[1])  # type: ignore[index]

    assert width <= 1100


def test_states_of_the_users_own_cannot_break_the_pictures() -> None:
    """Hostile names of states and events end up as text, in both forms."""
    names = {f"{text[:30]}{n}": "created" for n, text in enumerate(HOSTILE)}
    own = LIFECYCLE.extended(states=names, events={f"{name}!": name for name in names})

    texts = texts_in(lifecycle_svg(own))
    lines = lifecycle_mermaid(own).splitlines()

    named_otherwise = sum(line.startswith("  state ") for line in lines)
    assert 3 + named_otherwise + len(moves_of(own)) == len(lines)
    assert len(HOSTILE) - 1 == named_otherwise  # `end3` is a name like any other
    assert "<script>alert(1)</script>0" in texts
    assert not [line for line in lines if "<script" in line or ";;" in line]


def test_words_of_mermaid_are_given_another_name() -> None:
    """A state called `end` or `note` is drawn under an alias."""
    own = LIFECYCLE.extended(states={"end": "created", "in-review": "created"})

    text = lifecycle_mermaid(own)

    assert re.search(r'state "end" as s\d', text)
    assert re.search(r'state "in-review" as s\d', text)
    assert not re.search(r"--> end\b|^ +end -->", text, re.M)


# --- the sequence ----------------------------------------------------------------------------


def test_each_entry_is_one_arrow_in_order() -> None:
    """The diagram has the timeline's entries, all of them, in its order."""
    timeline = story()

    assert timeline.entries == tuple(arrow.entry for arrow in arrows_of(timeline))


@pytest.mark.parametrize(
    ("what", "how", "expected"),
    [
        ("stored", "own act", ("Customer", "Shop", False)),
        ("sent_to_checkout", "own act", ("Shop", "Customer", True)),
        ("CREATED", "API answer", ("xPay", "Shop", True)),
        ("intent.success", "webhook", ("xPay", "Shop", False)),
    ],
)
def test_arrows_go_from_the_one_who_spoke(
    what: str, how: str, expected: tuple[str, str, bool]
) -> None:
    """An event comes from xPay, an order from the customer; an answer is dashed."""
    found = {(a.entry.what, a.entry.how): a for a in arrows_of(story())}[what, how]

    assert expected == (found.source, found.target, found.answer)


def test_a_handler_is_called_and_answers() -> None:
    """A try is an arrow to the handlers and one back."""
    tries = [a for a in arrows_of(story()) if a.entry.what == "on_success"]

    assert [("Shop", "Handlers"), ("Handlers", "Shop")] == [(a.source, a.target) for a in tries]


def test_a_call_that_was_never_made_stays_within_the_shop() -> None:
    """A dropped effect has no arrow to the handlers, and no lane for them."""
    dropped = timeline_of(entry("on_failed", "handler", "dropped"))

    assert [("Shop", "Shop")] == [(a.source, a.target) for a in arrows_of(dropped)]
    assert "Handlers" not in texts_in(sequence_svg(dropped))


def test_times_are_shown_from_the_first_entry() -> None:
    """The first entry is at zero, and a minute and a half later is shown as such."""
    texts = texts_in(sequence_svg(story()))

    assert "+0.00 s" in texts
    assert "+1 min 34 s" in texts


@pytest.mark.parametrize(
    ("expected", "ms"),
    [
        ("+0.00 s", 0),
        ("−0.25 s", -250),
        ("+59.99 s", 59_990),
        ("+1 min 00 s", 60_000),
        ("+1 h 01 min", 3_661_000),
        ("+2 d 1 h", 49 * 3_600_000),
    ],
)
def test_elapsed_times_are_written_for_people(expected: str, ms: int) -> None:
    """Units grow with the time; an earlier clock is shown as such."""
    assert expected == elapsed(ms)


@pytest.mark.parametrize(
    ("tone", "verdict"),
    [
        ("good", "applied"),
        ("good", "done"),
        ("plain", "stale"),
        ("plain", "duplicate"),
        ("warn", "contradictory"),
        ("warn", "mismatched"),
        ("bad", "failed"),
    ],
)
def test_a_verdict_has_a_colour_a_sign_and_a_word(tone: str, verdict: str) -> None:
    """Verdicts differ without colours."""
    svg = sequence_svg(timeline_of(entry("intent.success", "xPay", verdict)))
    signs = {
        each: re.findall(
            r'd="(M[^"]+)" class="xf-mark', sequence_svg(timeline_of(entry("x", "xPay", v)))
        )
        for each, v in {
            "good": "done",
            "plain": "stale",
            "warn": "mismatched",
            "bad": "failed",
        }.items()
    }

    assert f'<g class="xf-{tone}">' in svg
    assert verdict in texts_in(svg)
    assert signs[tone] == re.findall(r'd="(M[^"]+)" class="xf-mark', svg)
    assert 4 == len({tuple(found) for found in signs.values()})


def test_our_own_alarm_is_worth_a_look_although_it_was_applied() -> None:
    """A handler that was given up is not drawn like a success."""
    gave_up = entry("handler_gave_up", "shop", "applied")

    assert '<g class="xf-warn">' in sequence_svg(timeline_of(gave_up))
    assert '<g class="xf-good">' in sequence_svg(timeline_of(entry("stored", "shop", "applied")))


def test_mermaid_has_a_line_for_each_entry_and_a_band_for_each_that_needs_a_look() -> None:
    """Verdicts that need a look are banded, and every verdict is written."""
    timeline = timeline_of(
        entry("a"), entry("b", verdict="contradictory"), entry("c", verdict="failed")
    )

    lines = sequence_mermaid(timeline).splitlines()

    assert 3 == sum("->>" in line for line in lines)
    assert 2 == sum("rect rgba" in line for line in lines)
    assert 2 == lines.count("  end")
    assert any("contradictory" in line for line in lines)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("who", ["xPay", "shop", "handler"])
@pytest.mark.parametrize("verdict", ["applied", "mismatched", "failed"])
def test_foreign_text_is_text(text: str, who: str, verdict: str) -> None:
    """No word of an event becomes an element, a line or syntax."""
    timeline = timeline_of(entry(text, who, verdict))
    plain = timeline_of(entry("plain", who, verdict))

    svg, lines = sequence_svg(timeline), sequence_mermaid(timeline).splitlines()

    assert "<script" not in svg
    assert len(texts_in(sequence_svg(plain))) == len(texts_in(svg))
    assert len(sequence_mermaid(plain).splitlines()) == len(lines)


@given(st.text(max_size=80))
def test_any_text_makes_well_formed_pictures(text: str) -> None:
    """The SVG parses and encodes, and Mermaid keeps its lines, whatever an event is called."""
    timeline = timeline_of(entry(text, "xPay", "applied"))

    assert texts_in(sequence_svg(timeline))
    assert 4 == len(sequence_mermaid(timeline).splitlines())
    assert not re.search(r"[;\n](?!$)", re.sub(r"#\d+;", "", mermaid(text, 80)))


def test_long_texts_are_cut_in_the_picture_and_longer_in_the_tooltip() -> None:
    """A line of the picture stays a line; the tooltip shows more."""
    svg = sequence_svg(timeline_of(entry("y" * 100)))

    assert not [text for text in texts_in(svg) if len(text) > 80]
    assert [text for text in texts_in(svg, "title") if "y" * 100 in text]


def test_cut_never_gives_more_than_requested() -> None:
    """Cut text has its limit, with the mark of the cut included."""
    assert "abc…" == cut("abcdef", 4)
    assert "abcd" == cut("abcd", 4)


def test_a_long_story_is_drawn_up_to_a_limit_and_says_so() -> None:
    """More arrows than anybody looks at are counted instead."""
    many = timeline_of(*(entry("x", at_ms=n) for n in range(ENTRIES_MAX + 7)))

    assert ENTRIES_MAX == len(arrows_of(many))
    assert "and 7 later entries" in texts_in(sequence_svg(many))
    assert "and 7 later entries" in sequence_mermaid(many)


def test_a_story_without_entries_is_a_picture_all_the_same() -> None:
    """Nothing recorded is nothing drawn, and no error."""
    assert "Shop" in texts_in(sequence_svg(timeline_of()))
    assert "participant Shop" in sequence_mermaid(timeline_of())


@pytest.mark.parametrize("svg", [lifecycle_svg(LIFECYCLE), sequence_svg(timeline_of(entry("x")))])
def test_pictures_are_named_for_people_who_cannot_see_them(svg: str) -> None:
    """Title and description exist, and the picture refers to them."""
    root = minidom.parseString(svg).documentElement
    assert root is not None
    names = root.getAttribute("aria-labelledby").split()

    ids = [node.getAttribute("id") for node in root.childNodes if isinstance(node, minidom.Element)]

    assert "img" == root.getAttribute("role")
    assert names == [name for name in ids if name]
    assert "prefers-color-scheme:dark" in svg


def test_the_header_names_order_money_and_state() -> None:
    """Whose story it is stands above it; the address of the checkout does not."""
    timeline = story()
    assert timeline.intent is not None
    other = attrs.evolve(timeline, intent=attrs.evolve(timeline.intent, money=Money(5, "JPY")))

    assert "order-42 · 19.99 USD · success" in texts_in(sequence_svg(timeline))
    assert "order-42 · 5 JPY · success" in texts_in(sequence_svg(other))
    assert str(timeline.intent.checkout_url) not in sequence_svg(timeline)
