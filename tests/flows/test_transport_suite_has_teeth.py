"""The suite finds what is wrong with a transport, by the name of the duty that is planted."""

from __future__ import annotations

from typing import Any

import pytest

from xpay_flow.ports import NoAnswer, Transport
from xpay_flow.testing import transport_suite
from xpay_flow.testing.transport_suite import TransportSuite

from . import planted_transports as planted

# Each duty of the suite, and a transport that breaks it.
PLANTED: dict[str, type[planted.Good]] = {
    "test_a_request_arrives_as_it_is": planted.DecodesThePath,
    "test_a_request_without_a_body_has_none": planted.AlwaysPosts,
    "test_an_answer_comes_back_as_it_is": planted.GivesText,
    "test_any_status_is_an_answer": planted.RaisesForAStatus,
    "test_a_redirect_is_not_followed": planted.FollowsRedirects,
    "test_a_lost_answer_is_not_sent_for_again": planted.TriesAgain,
    "test_half_an_answer_is_none": planted.TakesHalves,
    "test_what_is_no_http_is_no_answer": planted.TakesAnything,
    "test_where_nothing_listens_there_is_no_answer": planted.LetsErrorsThrough,
    "test_a_slow_answer_is_given_up": planted.StartsTheClockAtEachByte,
    "test_an_endless_answer_is_given_up": planted.CollectsEverything,
    "test_no_error_shows_the_keys": planted.ShowsTheRequest,
    "test_answers_are_not_mixed_up": planted.KeepsTheRequestInItself,
}


def run(duty: str, kind: type[planted.Good]) -> None:
    """Put a transport to one duty of the suite."""

    class Suite(TransportSuite):
        def make_transport(self) -> Transport:
            return kind()

    method = getattr(Suite(), duty)
    arguments: list[dict[str, Any]] = [{}]
    for mark in getattr(method, "pytestmark", ()):  # it is parametrized
        name, values = mark.args
        arguments = [{name: value} for value in values]
    for given in arguments:
        method(**given)


def test_every_duty_has_a_transport_that_breaks_it() -> None:
    """No duty is in the suite without a transport that shows what it is good for."""
    assert sorted(PLANTED) == sorted(
        name for name in dir(TransportSuite) if name.startswith("test_")
    )


@pytest.mark.parametrize("duty", PLANTED)
def test_a_good_transport_that_is_awaited_passes(duty: str) -> None:
    """The suite awaits what is to be awaited, so what follows is the fault of the broken ones."""
    run(duty, planted.Awaited)


@pytest.mark.parametrize("duty", PLANTED)
def test_a_broken_transport_is_found(duty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport that is wrong in one way fails in the very duty that it breaks."""
    monkeypatch.setattr(transport_suite, "GIVEN_UP_S", 1.0)
    with pytest.raises((AssertionError, NoAnswer, pytest.fail.Exception)):
        run(duty, PLANTED[duty])


def test_a_body_that_is_written_again_is_found() -> None:
    """A second way to break the first duty: the bytes of the body."""
    with pytest.raises(AssertionError):
        run("test_a_request_arrives_as_it_is", planted.WritesTheBodyAgain)
