"""A shop on Django and its ORM, in one file."""

import json
import os

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="a secret of this shop only",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "django-shop.db"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.mail import send_mail  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402
from django.db.models import F  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

from .xpay import authentic  # noqa: E402


class Order(models.Model):
    receipt_id = models.CharField(max_length=40, unique=True)
    status = models.CharField(max_length=10, default="pending")
    amount = models.IntegerField()
    currency = models.CharField(max_length=3)
    parcels = models.IntegerField(default=0)

    class Meta:
        app_label = "shop"


class Shipment(models.Model):
    order = models.ForeignKey(Order, models.CASCADE)

    class Meta:
        app_label = "shop"


def reset() -> None:
    with connection.schema_editor() as editor:
        editor.create_model(Order)
        editor.create_model(Shipment)
    Order.objects.create(receipt_id="order-42", amount=1999, currency="USD")


def paid_order(event):
    order = Order.objects.filter(receipt_id=event["receiptId"]).first()
    right = order and (event["amount"], event["currency"]) == (order.amount, order.currency)
    return order, bool(right and event["eventType"] == "intent.success")


def get_or_create_race(event):
    order, is_paid = paid_order(event)
    if order is None:
        return 404
    if is_paid:
        Shipment.objects.get_or_create(order=order)
        Order.objects.filter(pk=order.pk).update(status="paid")
    return 200


@transaction.atomic
def mail_before_commit(event):
    order, is_paid = paid_order(event)
    if order is None:
        return 404
    if is_paid and order.status != "paid":
        send_mail("Thank you", "It is on its way.", "shop@shop.example", ["a@customer.example"])
        order.status = "paid"
        order.save()
    return 200


def saved_over(event):
    """Counts in Python what others count at the same time, and saves all columns."""
    order, is_paid = paid_order(event)
    if order is None:
        return 404
    if is_paid:
        claimed = Order.objects.filter(pk=order.pk).exclude(status="paid").update(status="paid")
        if claimed:
            order.status = "paid"
            order.parcels += 1
    order.save()
    return 200


@transaction.atomic
def right(event):
    order, is_paid = paid_order(event)
    if order is None:
        return 404
    if is_paid:
        unpaid = Order.objects.filter(pk=order.pk).exclude(status="paid")
        if unpaid.update(status="paid", parcels=F("parcels") + 1):
            Shipment.objects.create(order=order)
    return 200


@csrf_exempt
def webhook(request):
    if not authentic(request.body, request.headers.get("xpay-signature", "")):
        return HttpResponse(status=401)
    return HttpResponse(status=globals()[os.environ["SHOP"]](json.loads(request.body)))


urlpatterns = [path("webhooks/xpay", webhook)]
asgi = ASGIHandler()
wsgi = WSGIHandler()
