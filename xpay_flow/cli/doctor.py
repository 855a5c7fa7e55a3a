"""`xpay-flow doctor`: can this environment take payments, and if not, what is missing?

It looks and changes nothing: no store is made, and xPay is not called.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from xpay_flow import ConfigurationError, Flow, Settings, XPayFlowError, __version__
from xpay_flow.flows import UnservedWork
from xpay_flow.ports import Store
from xpay_flow.realm import EVERY_REALM

from .findings import Finding
from .needs import click
from .probes import check_app_mount
from .stores import SQLITE, existing_store, is_missing_file, store_option


@click.command(short_help="Check the settings and the store.")
@store_option
@click.option(
    "--app", metavar="MODULE:APP|URL", help="Send probes through the routes of this app, too."
)
@click.option(
    "--webhook", default="/xpay/webhook", show_default=True, help="The webhook's path in the app."
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(store_url: str | None, app: str | None, webhook: str, as_json: bool) -> None:
    """Check the settings in the environment and the store. Exit code 1 if something is wrong.

    With --app, signed and forged requests go through the mount as well. An app that is named by
    its module is imported and given an empty store meanwhile; at an address, the signed probe is
    recorded once, as an unmatched event of the type xpay_flow.doctor.
    """
    settings, of_settings = _check_settings()
    findings = [*_check_library(), *of_settings, *_check_store(store_url, settings)]
    if app is not None:
        findings += check_app_mount(app, webhook, settings, store_url)
    if as_json:
        click.echo(json.dumps([attrs.asdict(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    if any(finding.verdict == "wrong" for finding in findings):
        raise SystemExit(1)


def _print(findings: list[Finding]) -> None:
    colours = {"ok": "green", "note": "yellow", "wrong": "red"}
    for finding in findings:
        verdict = click.style(f"{finding.verdict:<5}", fg=colours[finding.verdict])
        click.echo(f"{verdict}  {finding.about:<8}  {finding.text}")
    wrong = sum(finding.verdict == "wrong" for finding in findings)
    click.echo(f"\n{wrong} to fix." if wrong else "\nReady to take payments.")


def _check_library() -> Iterator[Finding]:
    versions = f"xpay-flow {__version__} on Python {platform.python_version()}"
    yield Finding(verdict="ok", about="library", text=versions)


def _check_settings() -> tuple[Settings | None, list[Finding]]:
    """The settings, if they can be used, and what is found about them."""
    try:
        settings = Settings.from_env()
    except ConfigurationError as error:
        # The first line is a heading; each other one names a variable and never its value.
        problems = str(error).splitlines()[1:]
    except XPayFlowError as error:
        problems = [str(error)]
    else:
        return settings, list(_about_settings(settings))
    return None, [Finding(verdict="wrong", about="settings", text=text) for text in problems]


def _about_settings(settings: Settings) -> Iterator[Finding]:
    yield Finding(
        verdict="ok",
        about="settings",
        text=f"{settings.mode} mode, xPay at {settings.base_url}, webhooks proved by "
        f"{settings.require_signature} with {len(settings.webhook_secrets)} signing key(s)",
    )
    yield Finding(
        verdict="ok", about="settings", text=f"payments are stored under {settings.realm}"
    )
    if settings.mode == "sandbox":
        yield Finding(verdict="note", about="settings", text="sandbox mode moves no money")


def _check_store(url: str | None, settings: Settings | None) -> Iterator[Finding]:
    if url is None:
        yield Finding(
            verdict="note", about="store", text="not checked: name it with --store or XPAY_STORE"
        )
    elif is_missing_file(url):
        text = "there is no file yet; the first start makes it"
        yield Finding(verdict="note", about="store", text=text)
    else:
        yield from _rights(url)
        yield from _opened(url, settings)


def _rights(url: str) -> Iterator[Finding]:
    """A file that we make is its owner's alone; one that was there keeps its rights."""
    path = Path(url.removeprefix(SQLITE))
    if url.startswith(SQLITE) and os.name == "posix" and path.stat().st_mode & 0o077:
        mode = path.stat().st_mode & 0o777
        yield Finding(
            verdict="note",
            about="store",
            text=f"the file has the rights {mode:o}, so others on this machine may read names and "
            "e-mail addresses of customers; 600 is enough (chmod 600, with its -wal and -shm)",
        )


def _opened(url: str, settings: Settings | None) -> Iterator[Finding]:
    realms = settings.realms if settings else EVERY_REALM
    try:
        with existing_store(url) as store:
            due = len(store.due("deliver", 2**53, 1000, realms))
            between = _POOLERS.get(getattr(store, "pooler_found", "none"))
            elsewhere = len(store.due("deliver", 2**53, 1000, realms.rest))
            unserved = _unserved(store, settings) if settings else ()
    except XPayFlowError as error:
        yield Finding(verdict="wrong", about="store", text=str(error))
        return
    yield Finding(verdict="ok", about="store", text=f"opened; {due} payment(s) have handlers due")
    if between is not None:
        yield Finding(verdict="note", about="store", text=between)
    if elsewhere:
        text = f"{elsewhere} payment(s) of other modes or accounts have handlers due"
        yield Finding(verdict="note", about="store", text=text)
    for work in unserved:
        yield Finding(verdict="wrong", about="store", text=str(work))


def _unserved(store: Store, settings: Settings) -> tuple[UnservedWork, ...]:
    with Flow(store, settings, background=False) as flow:
        return flow.unserved_work()


# What a store has found between it and its server; without the option it does not open.
_POOLERS: Final = {
    "transaction": "behind a connection pooler in transaction mode, which the URL names",
    "unknown": "behind a connection pooler; if it is in transaction mode, the URL needs "
    "pooler=transaction",
}
