"""`xpay-flow sandbox`: the local xPay on a port."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any

import attrs

from xpay_flow import ConfigurationError

from .needs import click

if TYPE_CHECKING:
    from xpay_flow.sandbox import SandboxConfig

_KEYS = {"public_key": "PUBLIC_KEY", "private_key": "PRIVATE_KEY", "signing_key": "WEBHOOK_SECRETS"}


@click.command(short_help="Run a local xPay.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=4010, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--webhook-url",
    default="http://127.0.0.1:8000/xpay/webhook",
    show_default=True,
    help="Where your shop receives webhooks.",
)
@click.option("--faults", type=click.File("r"), help="A plan of faults, as JSON.")
@click.option("--seed", type=int, help="Determines ids and faults; without it, chance makes one.")
@click.option("--shop-name", help="Who is paid, as the checkout page names it.")
@click.option("--public-key", help="Instead of the sandbox's own.")
@click.option(
    "--private-key", envvar="XPAY_SANDBOX_PRIVATE_KEY", help="Instead of the sandbox's own."
)
@click.option(
    "--signing-key", envvar="XPAY_SANDBOX_SIGNING_KEY", help="Instead of the sandbox's own."
)
@click.option("--webhook-delay-ms", type=click.IntRange(0), help="Hold every webhook back.")
@click.option("--redirect-delay-ms", type=click.IntRange(0), help="Hold the browser back.")
@click.option(
    "--profile",
    type=click.Choice(["newest", "disputes"]),
    default="newest",
    show_default=True,
    help="How to read xPay's pages where they differ; disputes shows DISPUTED as a status.",
)
@click.option("--any-host", is_flag=True, help="Allow a host, and webhooks, beyond this machine.")
def sandbox(
    host: str,
    port: int,
    faults: IO[str] | None,
    seed: int | None,
    profile: str,
    any_host: bool,
    **options: Any,
) -> None:
    """Run a local xPay: its API, its checkout page and its webhooks.

    It prints the variables with which your shop finds it. It keeps no data when it ends.
    """
    from xpay_flow.sandbox import PROFILES, FaultPlan, Sandbox, SandboxConfig
    from xpay_flow.sandbox.web import run

    given = {name: value for name, value in options.items() if value is not None}
    config = SandboxConfig(
        checkout_base_url=f"http://{host}:{port}",
        loopback_only=not any_host,
        **PROFILES[profile],
        **given,
    )
    plan = FaultPlan.from_json(faults.read()) if faults else None
    _check_free(host, port)
    made = Sandbox(config, faults=plan, seed=seed)
    click.echo(_about(config, faults.name if faults else None, made.seed))
    run(made, host, port, any_host=any_host)


def _check_free(host: str, port: int) -> None:
    """An error in words; the server would only log it."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from None


def _about(config: SandboxConfig, faults: str | None, seed: int) -> str:
    keys = {name: _shown(config, name) for name in _KEYS}
    return "\n".join(
        (
            f"Local xPay      {config.checkout_base_url}/_sandbox/",
            f"Webhooks go to  {config.webhook_url}",
            f"Faults          {faults or 'none'}; --seed {seed} repeats this run",
            "",
            "For your shop's environment:",
            "  XPAY_MODE=sandbox",
            f"  XPAY_BASE_URL={config.checkout_base_url}",
            *(f"  XPAY_{variable}={keys[name]}" for name, variable in _KEYS.items()),
            "",
            "Ctrl+C ends it.",
        )
    )


def _shown(config: SandboxConfig, name: str) -> str:
    """The sandbox's own key, which is public; a key that was given is not printed."""
    value: str = getattr(config, name)
    own = {field.name: field.default for field in attrs.fields(type(config))}[name]
    return value if value == own else "(the one you gave)"
