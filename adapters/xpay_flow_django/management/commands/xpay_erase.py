"""`manage.py xpay_erase`: a customer, or the customer of an order, is forgotten."""

from __future__ import annotations

import json
from typing import Any

import attrs
from django.core.management.base import BaseCommand, CommandError

from xpay_flow import XPayFlowError
from xpay_flow_django import open_flow

# Something is not settled, and is erased when it is.
DUE = 3


class Command(BaseCommand):
    """See the module."""

    help = (
        "Erase what is personal of an order's payments, or of all payments of a customer. It "
        "cannot be undone. Exit code 3: something is still needed, and is erased by itself later."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("name", help="receipt id, intent id, xPay's id, or e-mail address")
        parser.add_argument("--json", action="store_true", help="Print the result as JSON.")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            with open_flow(background=False) as flow:
                results = flow.erase(options["name"])
        except XPayFlowError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps([attrs.asdict(result) for result in results], indent=2))
        else:
            self.stdout.write("\n".join(map(str, results)))
        if any(result.outcome == "due" for result in results):
            raise SystemExit(DUE)
