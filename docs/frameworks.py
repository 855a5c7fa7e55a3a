"""Which frameworks are tested, in which versions, and behind which servers?

The tests run what is declared here, and the table of the README is written from it. Versions are
those of the locked requirements: `requirements/dev.txt` in continuous integration, and
`requirements/lowest.txt` with `make lowest`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

ROOT: Final = Path(__file__).parents[1]


@attrs.frozen(kw_only=True)
class Framework:
    """One framework, or a protocol without any.

    Args:
        distribution: whose versions count; empty for a protocol.
        flows: what its adapter takes.
        suite_behind: servers on whose sockets the adapter does each duty of `AdapterSuite`.
        shop: of the folder `examples`, or the page that is followed instead.
        commands: how each server is started with the shop, on `{port}`.
    """

    name: str
    distribution: str = ""
    flows: str = "`Flow`, `AsyncFlow`"
    suite_behind: tuple[str, ...] = ()
    shop: str = ""
    commands: Mapping[str, str] = attrs.field(factory=dict[str, str])


_GUNICORN: Final = "-m gunicorn -b 127.0.0.1:{port} "

FRAMEWORKS: Final = (
    Framework(
        name="Django",
        distribution="django",
        suite_behind=("uvicorn", "waitress"),
        shop="docs/how-to/use-django.md",
        commands={"runserver": ""},
    ),
    Framework(
        name="FastAPI",
        distribution="fastapi",
        suite_behind=("uvicorn",),
        shop="README.md",
        commands={"in process": ""},
    ),
    Framework(
        name="Starlette",
        distribution="starlette",
        suite_behind=("uvicorn",),
        shop="shop_starlette",
        commands={"uvicorn": "-m uvicorn shop_starlette:app --port {port}"},
    ),
    Framework(
        name="Flask",
        distribution="flask",
        flows="`Flow`",
        suite_behind=("werkzeug", "waitress"),
        shop="shop_flask",
        commands={
            "werkzeug": "-m flask --app shop_flask run --port {port}",
            "gunicorn": f"{_GUNICORN}shop_flask:app",
            "gunicorn gthread": f"{_GUNICORN}-k gthread --threads 4 shop_flask:app",
            "gunicorn --preload": f"{_GUNICORN}-w 2 --preload shop_flask:app",
            "waitress": "-m waitress --listen 127.0.0.1:{port} shop_flask:app",
        },
    ),
    Framework(
        name="Quart",
        distribution="quart",
        suite_behind=("hypercorn",),
        shop="shop_quart",
        commands={"hypercorn": "-m hypercorn --bind 127.0.0.1:{port} shop_quart:app"},
    ),
    Framework(
        name="Litestar",
        distribution="litestar",
        suite_behind=("uvicorn",),
        shop="shop_litestar",
        commands={"granian": "-m granian --interface asgi --port {port} shop_litestar:app"},
    ),
    Framework(
        name="aiohttp",
        distribution="aiohttp",
        suite_behind=("aiohttp",),
        shop="shop_aiohttp",
        commands={"aiohttp": "shop_aiohttp.py {port}"},
    ),
    Framework(name="plain ASGI", suite_behind=("uvicorn",)),
    Framework(name="plain WSGI", flows="`Flow`", suite_behind=("waitress",)),
)


def versions(distribution: str, lock: str) -> tuple[str, ...]:
    """The versions of a distribution in a file of `requirements`; some Pythons have their own."""
    text = (ROOT / "requirements" / lock).read_text()
    return tuple(re.findall(rf"^{re.escape(distribution)}==(\S+)", text, re.MULTILINE))


def commands() -> dict[str, tuple[str, str]]:
    """The shop and the command of each example behind each server, by the names of both."""
    return {
        f"{framework.shop} {server}": (framework.shop, command)
        for framework in FRAMEWORKS
        for server, command in framework.commands.items()
        if command
    }
