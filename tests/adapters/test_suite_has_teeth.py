"""The suite finds what is wrong with an adapter, by the name of the duty that is planted."""

from __future__ import annotations

from typing import Any, cast

import pytest

from xpay_flow.adapter_kit import Price, priced
from xpay_flow.endpoints import RequestHandler
from xpay_flow.testing import adapter_clients, adapter_suite
from xpay_flow.testing.adapter_suite import (
    AdapterSuite,
    AnyFlow,
    Client,
    asgi_client,
    sync_only,
    wsgi_client,
)

from . import planted_adapters as planted

# Each duty of the suite, and the adapters that break it.
PLANTED: dict[str, tuple[type[planted.Good], ...]] = {
    "test_the_exact_bytes_reach_the_verifier": (planted.WritesTheBodyAgain,),
    "test_a_body_in_pieces_is_put_together": (
        planted.TakesNoPieces,
        planted.TakesChunksForNothing,
    ),
    "test_the_type_of_a_body_changes_nothing": (planted.ParsesForms,),
    "test_a_compressed_body_is_not_unpacked": (planted.Unpacks,),
    "test_every_signature_header_reaches_the_verifier": (planted.KeepsOneHeader,),
    "test_a_strange_signature_header_is_refused": (
        planted.ReadsHeadersAsASCII,
        planted.KeepsOneHeader,
    ),
    "test_a_body_is_not_parsed_before_it_is_verified": (planted.ParsesBeforeItVerifies,),
    "test_a_forged_webhook_is_refused_and_leaves_no_trace": (planted.AcknowledgesEverything,),
    "test_an_unavailable_store_is_503_so_that_xpay_tries_again": (
        planted.AcknowledgesEverything,
        planted.LosesHeaders,
        planted.TriesAgain,
    ),
    "test_a_slow_store_is_503_before_xpay_gives_up": (planted.WaitsForSlowStores,),
    "test_an_oversized_body_is_413": (planted.CutsTheBody,),
    "test_no_more_of_a_body_is_read_than_the_limit": (planted.ReadsEverything,),
    "test_a_lying_content_length_is_not_believed": (planted.ReadsEverything,),
    "test_webhooks_that_come_together_are_kept_apart": (planted.KeepsTheRequestInItself,),
    "test_the_same_webhook_many_times_at_once_is_recorded_once": (planted.RefusesTwins,),
    "test_no_handler_is_called_inside_a_request": (planted.RunsHandlers,),
    "test_a_webhook_that_is_hung_up_on_is_recorded_whole_or_not_at_all": (
        planted.RemembersWhatItBegan,
    ),
    "test_no_request_is_answered_with_an_error_of_the_server": (
        planted.ReadsHeadersAsASCII,
        planted.TakesQueriesForText,
    ),
    "test_the_status_is_answered_as_json": (planted.LosesTheType, planted.LosesHeaders),
    "test_an_unknown_payment_is_404_and_pending": (planted.HasItsOwnErrorPages,),
    "test_a_query_without_an_id_is_400": (planted.HasItsOwnErrorPages,),
    "test_a_query_is_decoded_once_and_its_last_value_counts": (
        planted.DecodesTwice,
        planted.TakesTheFirstValue,
    ),
    "test_a_waiting_query_ends_when_an_event_comes": (planted.ServesOneAtATime, planted.NeverWaits),
    "test_a_waiting_query_ends_when_its_time_is_up": (planted.NeverWaits,),
    "test_a_client_that_hangs_up_waits_no_more": (planted.DoesNotListen,),
    "test_webhooks_are_answered_beside_waiting_customers": (planted.HasFewPlaces,),
    "test_a_query_that_may_not_wait_is_answered_at_once": (planted.KeepsTheHintToItself,),
    "test_a_body_that_does_not_arrive_is_408": (
        planted.CollectsTheBodyFirst,
        planted.StartsTheClockAtEachByte,
    ),
    "test_a_browser_names_an_order_and_not_its_price": (planted.TrustsTheBrowser,),
    "test_a_checkout_that_names_no_order_is_refused": (planted.PricesForms,),
    "test_the_return_page_escapes_its_address": (
        planted.DecodesMarkup,
        planted.LosesHeaders,
    ),
    "test_the_return_page_speaks_the_language_of_the_browser": (planted.LosesRequestHeaders,),
    "test_the_script_is_served_and_may_be_kept": (
        planted.LosesTheType,
        planted.LosesRequestHeaders,
    ),
    "test_the_routes_are_where_they_were_mounted": (
        planted.ForgetsThePrefix,
        planted.LooksAtTheEnd,
        planted.AddsASlash,
    ),
    "test_a_slash_at_the_end_changes_nothing": (planted.WantsNoSlash,),
    "test_an_address_that_is_not_ours_is_404": (planted.LooksAtTheBeginning,),
    "test_a_wrong_method_is_405_and_names_the_right_one": (planted.KnowsNoOtherMethods,),
    "test_head_is_get_without_the_body": (planted.TakesHeadForGet, planted.MeasuresAgain),
}


def is_asgi(adapter: type[planted.Good]) -> bool:
    return issubclass(adapter, planted.GoodASGI)


def run(duty: str, adapter: type[planted.Good]) -> None:
    """Put an adapter to one duty of the suite."""

    class Suite(AdapterSuite):
        def make_client(self, flow: AnyFlow, prefix: str) -> Client:
            return client_of(adapter(sync_only(flow), prefix))

        def make_priced_client(self, flow: AnyFlow, prefix: str, price: Price) -> Client:
            app = adapter(sync_only(flow), prefix)
            app.flow = cast(RequestHandler, priced(app.flow, app.price(price)))
            return client_of(app)

    suite = Suite()
    method = getattr(suite, duty)
    arguments: list[dict[str, Any]] = [{}]
    for mark in getattr(method, "pytestmark", ()):  # it is parametrized
        name, values = mark.args
        arguments = [{name: value} for value in values]
    try:
        for given in arguments:
            method(**given)
    finally:
        suite.close()


def client_of(app: Any) -> Client:
    return asgi_client(app) if is_asgi(type(app)) else wsgi_client(app)


def test_every_duty_has_an_adapter_that_breaks_it() -> None:
    """No duty is in the suite without an adapter that shows what it is good for."""
    assert sorted(PLANTED) == sorted(name for name in dir(AdapterSuite) if name.startswith("test_"))


@pytest.mark.parametrize("duty", PLANTED)
def test_a_good_adapter_passes(duty: str) -> None:
    """The smallest adapter does each duty, so what follows is the fault of the broken ones."""
    run(duty, planted.GoodASGI if is_asgi(PLANTED[duty][0]) else planted.Good)


@pytest.mark.parametrize(
    ("duty", "adapter"),
    [
        pytest.param(duty, adapter, id=f"{adapter.__name__}-{duty}")
        for duty, adapters in PLANTED.items()
        for adapter in adapters
    ],
)
def test_a_broken_adapter_is_found(
    duty: str, adapter: type[planted.Good], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter that is wrong in one way fails in the very duty that it breaks."""
    for module in (adapter_clients, adapter_suite):
        monkeypatch.setattr(module, "GIVEN_UP_S", 1.0)  # What never ends need not be waited for.
    with pytest.raises(AssertionError):
        run(duty, adapter)
