"""What the endpoints answer, whatever the framework."""

from __future__ import annotations

import json
from typing import Any

import pytest

from xpay_flow import sample_records as b
from xpay_flow.endpoints import ReadRoute, WebRequest, WebResponse, WriteRoute, overdue
from xpay_flow.errors import SchemaMismatch, StoreContended, StoreUnavailable
from xpay_flow.records import Change
from xpay_flow.testing.adapter_suite import ODD_SPELLING, event, signature

from .kit import Site


def header(response: WebResponse, name: str) -> str | None:
    return dict(response.headers).get(name)


def webhook(body: bytes, *headers: tuple[str, str]) -> WebRequest:
    return WebRequest(
        method="POST", path="/webhook", headers=headers or (signature(body),), body=body
    )


def status_and_body(response: WebResponse) -> tuple[int, Any]:
    return response.status, json.loads(response.body)


# --- what may write ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "X"]
)
@pytest.mark.parametrize(
    "path",
    [
        "/webhook",
        "/payment-status",
        "/return",
        "/xpay-flow.js",
        "/xpay-flow.css",
        "/",
        "",
        "//",
        "/x",
    ],
)
def test_only_a_post_to_the_webhook_may_write(method: str, path: str) -> None:
    """Every other request is an `ReadRoute`, which is performed with a reader alone."""
    found = Site().route(WebRequest(method=method, path=path))
    assert (WriteRoute if (method, path) == ("POST", "/webhook") else ReadRoute) is type(found)
    found.flow.close()


# --- the webhook ---------------------------------------------------------------------------------


def test_a_webhook_is_acknowledged_in_a_few_bytes() -> None:
    """What is recorded gets 200 and nothing of it back."""
    site = Site()
    response = site.answer(webhook(ODD_SPELLING))
    assert (200, {"received": True}) == status_and_body(response)
    assert "no-store" == header(response, "Cache-Control")
    assert {"webhook.applied": 1} == site.ports.shared.counters


@pytest.mark.parametrize(
    "body",
    [
        ODD_SPELLING.replace(b"intent.success", b"intent.dreamt"),
        ODD_SPELLING.replace(b"in_1", b"in_nobody"),
        ODD_SPELLING.replace(b"1999", b"1"),
        b"{",
        b"\xff\x00",
        b"",
    ],
    ids=["unknown type", "unmatched", "other money", "half", "binary", "empty"],
)
def test_everything_authenticated_gets_200(body: bytes) -> None:
    """A signed event is kept, whatever its content, so there is no need to send it again."""
    site = Site()
    before = site.store.commits
    assert (200, {"received": True}) == status_and_body(site.answer(webhook(body)))
    assert before + 1 == site.store.commits


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", "signature-missing"),
        ("AAAA", "signature-malformed"),
        (signature(b"other")[1], "signature-mismatch"),
        ("t=1,v1=00", "signature-foreign-format"),
    ],
)
def test_a_refusal_says_why_in_our_words(given: str, reason: str) -> None:
    """Each way in which a signature fails is 401, with a word for it and nothing foreign."""
    site = Site()
    response = site.answer(webhook(ODD_SPELLING, ("XPay-Signature", given)))
    assert (401, {"received": False, "error": reason}) == status_and_body(response)


def test_size_is_all_that_is_looked_at_before_the_signature() -> None:
    """A body over the limit is refused and counted, even if its signature is good."""
    site = Site(body_bytes_max=4096)
    body = ODD_SPELLING + b" " * 4096
    assert (413, {"received": False, "error": "too-large"}) == status_and_body(
        site.answer(webhook(body))
    )
    assert {"webhook.refused.too-large": 1} == site.ports.shared.counters


@pytest.mark.parametrize(
    ("error", "status"), [(StoreUnavailable, 503), (StoreContended, 503), (SchemaMismatch, 500)]
)
def test_what_is_not_stored_is_not_acknowledged(error: type[Exception], status: int) -> None:
    """When the store fails, xPay must send again (503)."""
    site = Site()

    def commit(change: Change) -> bool:
        raise error("lost")

    site.store.commit = commit  # type: ignore[method-assign]
    response = site.answer(webhook(ODD_SPELLING))
    assert (status, {"received": False, "error": "not-stored"}) == status_and_body(response)
    assert "5" == header(response, "Retry-After")


def test_an_overdue_webhook_is_to_come_again() -> None:
    """The answer when the deadline has passed is that of a store that failed."""
    assert (503, {"received": False, "error": "not-stored"}) == status_and_body(overdue())


def test_other_errors_are_the_frameworks_to_report() -> None:
    """A bug is not dressed up as an answer."""
    site = Site()

    def commit(change: Change) -> bool:
        raise ZeroDivisionError

    site.store.commit = commit  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        site.answer(webhook(ODD_SPELLING))


# --- the status query ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "answer"),
    [
        ((), {"status": "PENDING", "final": False, "refunded": "none"}),
        ((b.failed(),), {"status": "FAILED", "final": False, "refunded": "none"}),
        ((b.failed(), b.paid()), {"status": "SUCCESS", "final": True, "refunded": "none"}),
        ((b.paid(amount_minor=1),), {"status": "PENDING", "final": False, "refunded": "none"}),
    ],
    ids=["open", "failed", "failed, then paid", "paid too little"],
)
def test_the_status_in_three_words(events: Any, answer: dict[str, object]) -> None:
    """A failure is not final, and money that does not add up is pending."""
    assert (200, answer) == status_and_body(
        Site(*events).get("/payment-status", xpay_intent_id="in_1")
    )


def test_a_wait_is_cut_to_the_operators_maximum() -> None:
    """Whatever the browser asks for, it waits no longer than the settings say."""
    site = Site(status_wait_s_max=3.0)
    site.get("/payment-status", xpay_intent_id="in_1", wait="9999")
    assert 3_000 == site.clock.now_ms() - b.NOW_MS


def test_without_wait_there_is_no_wait() -> None:
    """The default is an answer at once."""
    site = Site()
    site.get("/payment-status", xpay_intent_id="in_1")
    assert 0 == site.clock.pauses


def test_a_failure_that_was_seen_does_not_end_the_wait() -> None:
    """A browser that knows of the failure can wait for the success that may follow."""
    site = Site(b.failed())
    site.after(4, lambda: site.learn(b.paid()))
    query = {"xpay_intent_id": "in_1", "wait": "20"}
    assert "FAILED" == status_and_body(site.get("/payment-status", **query))[1]["status"]
    assert 0 == site.clock.pauses
    assert (
        "SUCCESS"
        == status_and_body(site.get("/payment-status", **query, seen="FAILED"))[1]["status"]
    )
    assert 4 == site.clock.pauses


def test_a_success_ends_the_wait_even_if_it_was_seen() -> None:
    """Nothing can come after it, so there is nothing to wait for."""
    site = Site(b.paid())
    query = {"xpay_intent_id": "in_1", "wait": "20", "seen": "SUCCESS"}
    assert 200 == site.get("/payment-status", **query).status
    assert 0 == site.clock.pauses


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, "xpay_intent_id"),
        ({"xpay_intent_id": ""}, "xpay_intent_id"),
        ({"xpay_intent_id": "x" * 256}, "xpay_intent_id"),
        ({"xpay_intent_id": "in\x001"}, "xpay_intent_id"),
        ({"xpay_intent_id": "in\ud800"}, "xpay_intent_id"),
        ({"xpay_intent_id": "in_1", "wait": "-1"}, "wait"),
        ({"xpay_intent_id": "in_1", "wait": "nan"}, "wait"),
        ({"xpay_intent_id": "in_1", "wait": "1e9"}, "wait"),
        ({"xpay_intent_id": "in_1", "wait": "٣"}, "wait"),
        ({"xpay_intent_id": "in_1", "wait": ""}, "wait"),
        ({"xpay_intent_id": "in_1", "seen": "PAID"}, "seen"),
    ],
    ids=ascii,
)
def test_a_question_that_makes_no_sense_is_refused(query: dict[str, str], names: str) -> None:
    """The answer names the parameter and its form, and quotes nothing."""
    response = Site().get("/payment-status", **query)
    assert (400, [names]) == (
        response.status,
        [
            word
            for word in ("xpay_intent_id", "wait", "seen")
            if word in json.loads(response.body)["error"]
        ],
    )


@pytest.mark.parametrize("path", ["/payment-status", "/return"])
@pytest.mark.parametrize(
    "query", [{"order": "\ud800"}, {"\udfff": "1"}, {"n": "\udc00"}, {"a": "\ud83d"}], ids=ascii
)
def test_a_query_with_half_a_character_is_refused_in_words(
    path: str, query: dict[str, str]
) -> None:
    """Wherever it stands: the page could not be written, and no id holds one."""
    response = Site().get(path, xpay_intent_id="in_1", **query)
    assert 400 == response.status
    response.body.decode()


def test_a_store_that_does_not_answer_is_503() -> None:
    """The browser learns that nothing is known right now, not that the payment is unknown."""
    site = Site()
    site.store.down = True
    response = site.get("/payment-status", xpay_intent_id="in_1")
    assert (503, {"error": "not-read"}) == status_and_body(response)
    assert "5" == header(response, "Retry-After")


# --- every response ------------------------------------------------------------------------------


def test_every_response_has_a_length_and_a_type_that_is_not_guessed() -> None:
    """No response depends on what a framework would add."""
    site = Site()
    requests = [
        webhook(ODD_SPELLING),
        webhook(b"", ("XPay-Signature", "")),
        *(
            WebRequest(method=method, path=path, query={"xpay_intent_id": "in_1"})
            for method in ("GET", "HEAD", "POST")
            for path in (
                "/payment-status",
                "/return",
                "/xpay-flow.js",
                "/xpay-flow.css",
                "/",
                "/webhook",
            )
        ),
    ]
    for request in requests:
        response = site.answer(request)
        names = [name for name, _ in response.headers]
        assert sorted(set(names)) == sorted(names)
        assert {"Content-Type", "Content-Length", "Cache-Control"} <= set(names)
        assert "nosniff" == header(response, "X-Content-Type-Options")
        if request.method != "HEAD":
            assert str(len(response.body)) == header(response, "Content-Length")


def test_a_request_keeps_its_secrets_out_of_logs() -> None:
    """Headers carry signatures and cookies, and a body may carry a customer's address."""
    shown = repr(webhook(event("in_1", "whe_1")))
    assert "/webhook" in shown
    assert signature(event("in_1", "whe_1"))[1] not in shown
    assert "whe_1" not in shown
