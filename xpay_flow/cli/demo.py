"""`xpay-flow demo`: a shop and a local xPay, to see a payment from click to parcel."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from xpay_flow.signals import on_stop

from .needs import click
from .stores import SQLITE
from .timeline_table import print_timeline

if TYPE_CHECKING:
    from xpay_flow.demo.serve import Demo

SHOP_PORT, XPAY_PORT = 8000, 4010


@attrs.frozen(kw_only=True)
class _Wish:
    """The options. A port that is None is the default one, and any free one with `once`."""

    once: bool
    port: int | None
    xpay_port: int | None
    db: Path | None
    open_browser: bool

    @property
    def ports(self) -> tuple[int, int]:
        usual = (0, 0) if self.once else (SHOP_PORT, XPAY_PORT)
        given = (self.port, self.xpay_port)
        return (
            usual[0] if given[0] is None else given[0],
            usual[1] if given[1] is None else given[1],
        )


@click.command(short_help="Buy a mug from a small shop on this machine.")
@click.option("--once", is_flag=True, help="Make one purchase without a browser, show it, end.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help=f"The shop's port; {SHOP_PORT}, 0 is any."
)
@click.option(
    "--xpay-port", type=click.IntRange(0, 65535), help=f"The local xPay's; {XPAY_PORT}, 0 is any."
)
@click.option(
    "--store",
    "store_url",
    metavar="URL",
    help="Keep payments in this SQLite file, such as sqlite:///shop.db, and orders beside it.",
)
@click.option("--no-open", is_flag=True, help="Do not open a browser.")
def demo(
    once: bool, port: int | None, xpay_port: int | None, store_url: str | None, no_open: bool
) -> None:
    """Run a small shop and a local xPay on this machine, and buy a mug."""
    # No variable names it: payments of the demo must not get into the shop's own store.
    db = None if store_url is None else _file_of(store_url)
    wish = _Wish(once=once, port=port, xpay_port=xpay_port, db=db, open_browser=not no_open)
    with _database(db) as path:
        asyncio.run(_buy_once(path, wish) if once else _serve(path, wish))


def _file_of(store_url: str) -> Path:
    if not store_url.startswith(SQLITE):
        raise click.UsageError("the demo keeps payments in SQLite: --store sqlite:///shop.db")
    return Path(store_url.removeprefix(SQLITE))


@contextlib.contextmanager
def _database(kept: Path | None) -> Generator[Path, None, None]:
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="xpay-flow-demo-") as folder:
        yield Path(folder) / "payments.db"


async def _buy_once(path: Path, wish: _Wish) -> None:
    from xpay_flow.demo.once import PurchaseFailed, purchase
    from xpay_flow.demo.serve import running

    async with running(path, *wish.ports) as demo:
        click.echo(f"shop at {demo.shop_url}, local xPay at {demo.xpay_url}")
        try:
            timeline = await purchase(demo, lambda step: click.echo(f"  {step}"))
        except PurchaseFailed as error:
            raise click.ClickException(f"the purchase failed: {error}") from error
    click.echo()
    print_timeline(timeline)


async def _serve(path: Path, wish: _Wish) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    with on_stop(lambda: loop.call_soon_threadsafe(stop.set)):
        await _until(stop, path, wish)


async def _until(stop: asyncio.Event, path: Path, wish: _Wish) -> None:
    from xpay_flow.demo.serve import running

    async with running(path, *wish.ports) as demo:
        click.echo(_about(demo, wish))
        if wish.open_browser and _has_browser():
            # Some browsers do not return before they are closed.
            threading.Thread(target=webbrowser.open, args=(demo.shop_url,), daemon=True).start()
        await stop.wait()


def _about(demo: Demo, wish: _Wish) -> str:
    kept = (
        f"kept in {wish.db}"
        if wish.db
        else "deleted at the end (--store sqlite:///FILE keeps them)"
    )
    wanted = dict(zip(("shop", "xPay"), wish.ports, strict=True))
    found = {"shop": demo.shop_url, "xPay": demo.xpay_url}
    taken = [
        f"  Port {port} is taken, so the {name} is at another one."
        for name, port in wanted.items()
        if port and not found[name].endswith(f":{port}")
    ]
    return "\n".join(
        (
            "",
            f"  Shop        {demo.shop_url}/",
            f"  Operator    {demo.shop_url}/operator",
            f"  Local xPay  {demo.xpay_url}/_sandbox/",
            "",
            *taken,
            f"  Payments are {kept}. Ctrl+C ends the demo.",
            "",
        )
    )


def _has_browser() -> bool:
    """Whether there is a screen; a text browser would take over the terminal."""
    screen = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    return screen and sys.stdout.isatty()
