"""How the sandbox's pages are made: templates, security headers, forms with a limit."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from xpay_flow.money import Money

FORM_FIELDS_MAX = 50
FORM_BYTES_MAX = 256 * 1024

_SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "INR": "₹", "JPY": "¥"}
_HEADERS = {
    # No script at all. `form-action` also governs where a form's answer may redirect to, and
    # the payment form's answer redirects to the shop, wherever that is.
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src data:; "
        "form-action 'self' http: https:; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    # The address of a checkout is a secret of its customer.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


def display_amount(money: Money) -> str:
    """An amount for people: `€1,299.00`, or `12.500 KWD` where no symbol is common."""
    number, code = str(money).split()
    whole, point, rest = number.partition(".")
    grouped = f"{int(whole):,}{point}{rest}"
    symbol = _SYMBOLS.get(code)
    return f"{symbol}{grouped}" if symbol else f"{grouped} {code}"


_templates = Environment(
    loader=PackageLoader("xpay_flow.sandbox", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["amount"] = display_amount


def page(template: str, status: int = 200, /, **values: object) -> HTMLResponse:
    """A page from a template, with the headers that every page carries."""
    html = _templates.get_template(template).render(**values)
    return HTMLResponse(html, status, _HEADERS)


def stylesheet() -> Response:
    css = files("xpay_flow.sandbox").joinpath("static/sandbox.css").read_bytes()
    return Response(css, media_type="text/css", headers={"cache-control": "max-age=60"})


async def bounded_body(request: Request, bytes_max: int) -> bytes:
    """The body, or its first `bytes_max` + 1 bytes where it is longer: one too many, to be seen."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            break
    return bytes(body[: bytes_max + 1])


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a posted form, the last of each name; empty for anything but a form."""
    body = await bounded_body(request, FORM_BYTES_MAX)
    if len(body) > FORM_BYTES_MAX:
        return {}
    text = body.decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    except ValueError:
        return {}
