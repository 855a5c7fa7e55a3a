"""`xpay-flow webhook` and `xpay-flow keys`: where xPay sends events, and the key it signs with."""

from __future__ import annotations

import os
import secrets
from urllib.parse import urlsplit

from xpay_flow import Flow, Settings
from xpay_flow.flows.webhook_endpoints import (
    Registration,
    Rotation,
    register_webhook,
    rotate_webhook_secret,
)
from xpay_flow.settings import ENV_PREFIX
from xpay_flow.stores.memory import MemoryStore
from xpay_flow.wire import is_loopback

from .needs import click

VARIABLE = f"{ENV_PREFIX}WEBHOOK_SECRETS"


@click.group(short_help="Register the webhook endpoint at xPay.")
def webhook() -> None:
    """Register the webhook endpoint at xPay, in place of its dashboard."""


@webhook.command(short_help="Have xPay send its events to a URL.")
@click.argument("url")
def register(url: str) -> None:
    """Have xPay send the events that the library understands to URL, and print the settings.

    Without a signing key in XPAY_WEBHOOK_SECRETS a strong one is made. An endpoint that is there
    keeps its key and its further events, so the command may be repeated.
    """
    fresh = secrets.token_urlsafe(32)
    given = os.environ.get(VARIABLE, "")
    settings = Settings.from_env({**os.environ, VARIABLE: given or fresh})
    _check_url(url, settings)
    with Flow(MemoryStore(), settings, background=False) as flow:
        done = flow.run(register_webhook(url, settings))
    _print_registration(done, settings.webhook_secrets if given else ())


def _check_url(url: str, settings: Settings) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.UsageError("URL must be an address such as https://shop.example/xpay/webhook")
    if settings.mode == "live" and (parts.scheme != "https" or is_loopback(parts.hostname)):
        raise click.UsageError("in live mode, URL must begin with https:// and a public host")


def _print_registration(done: Registration, known: tuple[str, ...]) -> None:
    click.echo(f"{done.outcome:<12}{done.endpoint_id} at {done.url}")
    click.echo(f"{'events':<12}{', '.join(done.event_types)}\n")
    if done.secret in known:
        click.echo(f"{VARIABLE} stays as it is.")
    else:
        click.echo("For the environment of each process of your shop:")
        click.echo(f"  {VARIABLE}={','.join((done.secret, *known))}")


@click.group(short_help="Rotate the key that webhooks are signed with.")
def keys() -> None:
    """Rotate the key that webhooks are signed with."""


@keys.command(short_help="Do the next step of a rotation.")
@click.argument("url", required=False)
@click.option("--again", is_flag=True, help="Begin another one, though old keys are still listed.")
def rotate(url: str | None, again: bool) -> None:
    """Do the next step of a rotation of the signing key; no good event is refused meanwhile.

    Run it three times: it makes a key that your shop is to accept, has xPay sign with that key, and
    shows when the old one may go. URL is that of the endpoint, where the account has several.
    """
    settings = Settings.from_env()
    fresh = secrets.token_urlsafe(32)
    with Flow(MemoryStore(), settings, background=False) as flow:
        done = flow.run(rotate_webhook_secret(url, fresh, settings, again=again))
    _print_rotation(done)


def _print_rotation(done: Rotation) -> None:
    line = f"  {VARIABLE}={','.join(done.secrets)}"
    at = f"{done.endpoint.endpoint_id} at {done.endpoint.url}"
    if done.step == "add":
        click.echo(f"1 of 3. xPay goes on to sign with the old key for {at}.")
        click.echo(f"Set this in each process of your shop, and restart them all:\n{line}")
        click.echo("Then run this command again, with the same setting.")
    elif done.step == "switched":
        click.echo(f"2 of 3. xPay signs with the new key from now on for {at}.")
        click.echo("Events that it had queued may still carry the old one, and are repeated for")
        click.echo(f"days. Leave {VARIABLE} as it is for a week, then run this command again.")
    else:
        click.echo(f"3 of 3. xPay signs with the first key for {at}.")
        click.echo(f"A week after step 2 the old keys may go; set this, and restart:\n{line}")
