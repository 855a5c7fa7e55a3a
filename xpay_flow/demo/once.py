"""One purchase through real HTTP, as a browser without JavaScript would make it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Final
from urllib.parse import parse_qs, urljoin, urlsplit

import attrs
import httpx

from xpay_flow import Timeline, messages

from .serve import Demo

DEADLINE_S: Final = 30.0
WAIT_S: Final = 10


class PurchaseFailed(Exception):
    """The purchase did not go as it should; the text names the step."""


@attrs.define
class _Form:
    """A form of a page: where it goes and what it sends."""

    action: str
    fields: dict[str, str]


class _Forms(HTMLParser):
    """The forms of a page, with what a browser would send if nothing were changed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[_Form] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append(_Form(given.get("action", ""), {}))
            self._inside = True
        elif tag == "input" and self._inside and self._is_sent(given):
            self.found[-1].fields[given["name"]] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"

    @staticmethod
    def _is_sent(given: dict[str, str]) -> bool:
        return "name" in given and (given.get("type") != "radio" or "checked" in given)


async def purchase(demo: Demo, say: Callable[[str], None]) -> Timeline:
    """Buy one mug and see that it is packed; returns the payment's timeline.

    Raises:
        PurchaseFailed: something was not as it should be, or took too long.
    """
    step = "starting"

    def doing(text: str) -> None:
        nonlocal step
        step = text
        say(text)

    try:
        # Only this machine is called, so proxies of the environment are none of our business.
        async with asyncio.timeout(DEADLINE_S), httpx.AsyncClient(trust_env=False) as browser:
            return await _Purchase(demo, browser, doing).made()
    except TimeoutError:
        raise PurchaseFailed(f"not done after {DEADLINE_S:.0f} s, while {step}") from None
    except httpx.HTTPError as error:
        raise PurchaseFailed(f"{type(error).__name__} while {step}") from error


class _Purchase:
    """The steps, in order."""

    def __init__(self, demo: Demo, browser: httpx.AsyncClient, say: Callable[[str], None]) -> None:
        self._demo, self._browser, self._say = demo, browser, say

    async def made(self) -> Timeline:
        form, checkout_url = await self._bought()
        return_url = await self._paid(checkout_url)
        await self._returned(return_url)
        order_id = form.fields["order"]
        await self._packed(order_id)
        return await self._timeline(order_id)

    async def _bought(self) -> tuple[_Form, str]:
        self._say("opening the shop")
        page = await self._get(self._demo.shop_url)
        form = _forms_of(page)[0]
        self._say(f"pressing Buy for {form.fields['kind']!r}, twice, as impatient people do")
        first, second = await asyncio.gather(self._sent(page, form), self._sent(page, form))
        _expect(first == second, "two clicks led to two checkouts")
        return form, first

    async def _paid(self, checkout_url: str) -> str:
        self._say("paying on the checkout page")
        page = await self._get(checkout_url)
        form = _forms_of(page)[0]
        form.fields["act"] = "pay"
        return await self._sent(page, form)

    async def _returned(self, return_url: str) -> None:
        self._say("coming back to the shop, and reading the payment's status")
        await self._get(return_url)
        x_intent_id = parse_qs(urlsplit(return_url).query)[messages.RETURN_PARAMETER][0]
        params: dict[str, str | int] = {messages.RETURN_PARAMETER: x_intent_id, "wait": WAIT_S}
        status = await self._browser.get(
            urljoin(return_url, "payment-status"), params=params, timeout=WAIT_S + 5
        )
        answer = status.json()
        self._say(f"the answer is {answer['status']}")
        _expect(answer["status"] == "SUCCESS", f"the status is {answer}")

    async def _packed(self, order_id: str) -> None:
        self._say("waiting until the mug is packed")
        url = f"{self._demo.shop_url}/order?order={order_id}"
        while 'data-packed="0"' in (await self._get(url)).text:
            await asyncio.sleep(0.05)
        page = await self._get(url)
        _expect('data-packed="1"' in page.text, "the mug was packed more than once")
        self._say("the mug is packed, once")

    async def _timeline(self, order_id: str) -> Timeline:
        # The handler has packed the mug; that it is done is recorded a moment later.
        while True:
            timeline = await self._demo.flow.timeline(order_id)
            if all(entry.status == "done" for entry in timeline.outbox):
                return timeline
            await asyncio.sleep(0.05)

    async def _get(self, url: str) -> httpx.Response:
        page = await self._browser.get(url)
        _expect(page.status_code == 200, f"{urlsplit(url).path} answered {page.status_code}")
        return page

    async def _sent(self, page: httpx.Response, form: _Form) -> str:
        """Where a form's answer leads."""
        answer = await self._browser.post(page.url.join(form.action), data=form.fields)
        _expect(answer.status_code == 303, f"{form.action!r} answered {answer.status_code}")
        return str(answer.url.join(answer.headers["location"]))


def _forms_of(page: httpx.Response) -> list[_Form]:
    parser = _Forms()
    parser.feed(page.text)
    _expect(bool(parser.found), f"{page.url.path} has no form")
    return parser.found


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise PurchaseFailed(otherwise)
