"""Which commands are there, and what becomes of an error?"""

from __future__ import annotations

from typing import Any

from xpay_flow import XPayFlowError, __version__

from .check import check, replay
from .check_app import check_app
from .db import db
from .demo import demo
from .diagram import diagram
from .doctor import doctor
from .erasing import erase, purge
from .init import init
from .needs import click
from .sandbox import sandbox
from .timeline import timeline
from .webhook import keys, webhook
from .worker import worker


class _Group(click.Group):
    """Turns an error of the library into one line; anything else is a bug and keeps its trace."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except XPayFlowError as error:
            raise click.ClickException("; ".join(str(error).splitlines())) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="xpay-flow")
def xpay_flow() -> None:
    """Take payments through xPay Checkout without losing, doubling or misreporting one."""


for command in (
    *(demo, sandbox, worker, check, check_app, replay, timeline, diagram, doctor, db),
    *(init, webhook, keys, erase, purge),
):
    xpay_flow.add_command(command)
