"""How are the shop's pages made? Templates that escape, and headers that allow nothing foreign."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from importlib.resources import files
from typing import Final

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from xpay_flow import Money
from xpay_flow.drawing import STYLE

_SYMBOLS: Final = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
# The pictures bring their own style sheet, which is always the same.
_PICTURE_STYLE: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


def price(money: Money) -> str:
    """An amount for customers: `$19.00`."""
    number, code = str(money).split()
    return f"{_SYMBOLS[code]}{number}" if code in _SYMBOLS else f"{number} {code}"


def clock_time(at_ms: int) -> str:
    """A time of day on this machine's clock; the visitor sits in front of it."""
    moment = datetime.fromtimestamp(at_ms / 1000).astimezone()
    return f"{moment:%H:%M:%S}.{at_ms % 1000:03}"


class Looks:
    """The templates, and the headers of every page.

    Args:
        xpay_url: where a form's answer may send the browser; `form-action` governs that, too.
    """

    def __init__(self, xpay_url: str) -> None:
        self._headers = {
            "content-security-policy": (
                f"default-src 'none'; style-src 'self' 'sha256-{_PICTURE_STYLE}'; img-src 'self'; "
                f"form-action 'self' {xpay_url}; base-uri 'none'; frame-ancestors 'none'"
            ),
            "cache-control": "no-store",
            "referrer-policy": "same-origin",
            "x-content-type-options": "nosniff",
        }
        self._templates = Environment(
            loader=PackageLoader("xpay_flow.demo", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"price": price, "clock": clock_time, "drawn": Markup}
        self._everywhere = {"xpay_url": xpay_url}

    def page(self, template: str, status: int = 200, /, **values: object) -> HTMLResponse:
        """A page from a template."""
        html = self._templates.get_template(template).render(values | self._everywhere)
        return HTMLResponse(html, status, self._headers)

    def message(self, status: int, title: str, text: str, **values: object) -> HTMLResponse:
        """A page with one message."""
        more = {"back": "/", "back_text": "Back to the shop", **values}
        return self.page("message.html", status, title=title, text=text, **more)


def stylesheet() -> Response:
    """The one style sheet, also laid over the library's return page."""
    return _file("shop.css", "text/css")


def icon() -> Response:
    """The picture in the browser's tab. Browsers request it by name on pages that have none."""
    return _file("cup.svg", "image/svg+xml")


def _file(name: str, media_type: str) -> Response:
    content = files("xpay_flow.demo").joinpath("static", name).read_bytes()
    return Response(content, media_type=media_type, headers={"cache-control": "max-age=60"})


def same_origin(request: Request) -> None:
    """Refuses a form that another site's page has sent."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise HTTPException(403, "this form was sent from another site")
