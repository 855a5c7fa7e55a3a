"""`manage.py xpay_purge`: the customers of all payments that are older are forgotten."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import attrs
from django.core.management.base import BaseCommand, CommandError

from xpay_flow import XPayFlowError
from xpay_flow_django import open_flow

from .xpay_erase import DUE


class Command(BaseCommand):
    """See the module."""

    help = (
        "Erase what is personal of all payments, and of unmatched events, that are older. It "
        "cannot be undone. Exit code 3: something is still needed, and is erased by itself later."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument(
            "--older-than", type=int, required=True, metavar="DAYS", help="Such as 400."
        )
        parser.add_argument("--json", action="store_true", help="Print the result as JSON.")

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            with open_flow(background=False) as flow:
                result = flow.purge(timedelta(days=options["older_than"]))
        except XPayFlowError as error:
            raise CommandError(str(error)) from error
        shown = json.dumps(attrs.asdict(result), indent=2) if options["json"] else str(result)
        self.stdout.write(shown)
        if result.due:
            raise SystemExit(DUE)
