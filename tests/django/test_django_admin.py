"""The admin shows payments and their timelines, allows no edit, and makes calls due again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django_kit as kit
import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings
from django.urls import path

from xpay_flow import Flow
from xpay_flow import sample_records as b
from xpay_flow.testing.store_suite import put
from xpay_flow.testing.world import World
from xpay_flow_django import DjangoStore, routes
from xpay_flow_django.models import Intent

LIST = "/admin/xpay_flow/intent/"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def world(sqlite: str) -> Iterator[World]:
    """A shop whose `on_success` was given up, and a project with its admin."""
    world = World(DjangoStore(sqlite), retry_schedule_s=(1,))

    @world.flow.on_success
    def fail(_: Any) -> None:
        raise RuntimeError(HOSTILE)

    checkout = world.start_checkout("order-1")
    world.xpay.pay(checkout.x_intent_id or "")
    world.settle()
    world.advance(3600)
    world.settle()
    put(DjangoStore(sqlite), b.parked(b.paid(x_intent_id="in_9")))
    for step in b.history(b.created("in_7"), receipt_id="order-2"):
        put(DjangoStore(sqlite), step)
    patterns = kit.urlconf(path("admin/", admin.site.urls), kit.mounted(routes(world.flow)))
    with override_settings(ROOT_URLCONF=patterns):
        yield world


def operator(*permissions: str, superuser: bool = False) -> Client:
    user = User.objects.create(username="op", is_staff=True, is_superuser=superuser)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def test_the_list_shows_payments_newest_first(world: World) -> None:
    """Receipt, state and money of each payment stand in the list, and parked events by its key."""
    page = operator(superuser=True).get(LIST).content.decode()
    assert page.index("order-2") < page.index("in_9") < page.index("order-1")
    for words in ("19.99 USD", "success"):
        assert words in page


def test_reasons_are_shown_in_words(world: World) -> None:
    """Neither the list nor the page of a payment shows how reasons are stored."""
    payment = Intent.objects.get(receipt_id="order-1")
    assert payment.attention is not None
    client = operator(superuser=True)
    for where in (LIST, f"{LIST}{payment.pk}/change/"):
        page = client.get(where).content.decode()
        assert "handler_<wbr>gave_<wbr>up:<wbr>on_<wbr>success" in page
        assert "[&quot;" not in page


@pytest.mark.parametrize(
    ("look", "shown"),
    [("attention", {"order-1"}), ("gave_up", {"order-1"}), ("parked", {"in_9"}), ("", None)],
)
def test_the_filter_finds_what_a_person_should_look_at(
    world: World, look: str, shown: set[str] | None
) -> None:
    """Attention, calls that were given up, and unmatched events have a filter each."""
    page = operator(superuser=True).get(LIST, {"look": look} if look else {}).content.decode()
    rows = page[page.index('id="result_list"') :]
    found = {name for name in ("order-1", "order-2", "in_9") if name in rows}
    assert (shown or {"order-1", "order-2", "in_9"}) == found


def test_the_page_of_a_payment_tells_its_story(world: World) -> None:
    """Every entry of the timeline is shown, and foreign words are text and never markup."""
    payment = Intent.objects.get(receipt_id="order-1")
    page = operator("view_intent").get(f"{LIST}{payment.pk}/change/").content.decode()
    story = world.flow.timeline("order-1")
    assert 5 < len(story.entries)
    for entry in story.entries:
        assert entry.verdict in page
    assert "<svg" in page
    assert "&lt;script&gt;alert(1)" in page
    assert HOSTILE not in page


def test_the_admin_allows_no_edit(world: World) -> None:
    """Even a superuser can neither add, nor change, nor delete a payment."""
    payment, client = Intent.objects.get(receipt_id="order-1"), operator(superuser=True)
    before = Intent.objects.values().get(pk=payment.pk)
    assert 403 == client.get(f"{LIST}add/").status_code
    assert 403 == client.post(f"{LIST}{payment.pk}/change/", {"state": "failed"}).status_code
    assert 403 == client.post(f"{LIST}{payment.pk}/delete/", {"post": "yes"}).status_code
    assert before == Intent.objects.values().get(pk=payment.pk)


def redeliver_handlers(client: Client) -> Any:
    chosen = [payment.pk for payment in Intent.objects.all()]
    form = {"action": "redeliver_handlers", "_selected_action": chosen}
    return client.post(LIST, form, follow=True)


@pytest.mark.parametrize("atomic", [False, True], ids=["", "ATOMIC_REQUESTS"])
def test_a_call_that_was_given_up_can_be_due_again(world: World, atomic: bool) -> None:
    """After its cause is mended the handler is called once more, however often one presses."""
    calls: list[str] = []

    @world.flow.on_success
    def fulfil(payment: Any) -> None:
        calls.append(payment.receipt_id)

    client = operator("view_intent", "redeliver_handler")
    with kit.database_settings(kit.SQLITE, ATOMIC_REQUESTS=atomic):
        assert "1 handler call(s) are due again" in redeliver_handlers(client).content.decode()
        assert "0 handler call(s) are due again" in redeliver_handlers(client).content.decode()
    world.settle()
    assert ["order-1"] == calls


def test_owing_again_needs_its_permission(world: World) -> None:
    """Who may look may not have handlers called."""
    redeliver_handlers(operator("view_intent"))
    (call,) = (e for e in world.flow.timeline("order-1").outbox if e.name == "on_success")
    assert "gave_up" == call.status


def test_the_flow_of_the_project_is_used(world: World) -> None:
    """Without routes the admin reports that it cannot redeliver, and nothing breaks."""
    client = operator(superuser=True)
    assert isinstance(world.flow, Flow)
    with override_settings(ROOT_URLCONF=kit.urlconf(path("admin/", admin.site.urls))):
        page = redeliver_handlers(client).content.decode()
    assert "in the URLconf must be there, for one flow" in page
