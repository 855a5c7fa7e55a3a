"""Transports wrong in one way each. The suite must find every one, by the name of its duty."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import attrs

from examples import http_client_transport as good
from xpay_flow import Settings
from xpay_flow.ports import HttpRequest, HttpResponse, NoAnswer

SETTINGS: Final = Settings.sandbox()


class Good(good.HttpClientTransport):
    """The example, which others below get wrong."""

    def __init__(self) -> None:
        super().__init__(SETTINGS)


class DecodesThePath(Good):
    """The address is made readable."""

    def send(self, request: HttpRequest) -> HttpResponse:
        return super().send(attrs.evolve(request, url=unquote(request.url)))


class WritesTheBodyAgain(Good):
    """The body is text, with one kind of line end."""

    def send(self, request: HttpRequest) -> HttpResponse:
        body = request.body.decode("utf-8", "replace").replace("\r\n", "\n").encode()
        return super().send(attrs.evolve(request, body=body))


class AlwaysPosts(Good):
    """A request that has no body gets an empty object."""

    def send(self, request: HttpRequest) -> HttpResponse:
        return super().send(attrs.evolve(request, body=request.body or b"{}"))


class GivesText(Good):
    """What comes back is text, and bytes again."""

    def send(self, request: HttpRequest) -> HttpResponse:
        response = super().send(request)
        return attrs.evolve(response, body=response.body.decode("utf-8", "replace").encode())


class RaisesForAStatus(Good):
    """Errors are exceptions."""

    def send(self, request: HttpRequest) -> HttpResponse:
        response = super().send(request)
        if response.status >= 400:
            raise NoAnswer(f"status {response.status}")
        return response


class FollowsRedirects(Good):
    """Wherever the answer points, the request goes, too."""

    def send(self, request: HttpRequest) -> HttpResponse:
        response = super().send(request)
        if response.status != 302:
            return response
        return super().send(attrs.evolve(request, url=response.headers["Location"]))


class TriesAgain(Good):
    """What got no answer is sent once more."""

    def send(self, request: HttpRequest) -> HttpResponse:
        try:
            return super().send(request)
        except NoAnswer:
            return super().send(request)


class TakesHalves(Good):
    """What has come is the answer."""

    def send(self, request: HttpRequest) -> HttpResponse:
        connection = connected(request)
        connection.request(request.method, "/")
        with connection.getresponse() as response:
            body = response.read1()
            return HttpResponse(response.status, dict(response.headers.items()), body)


class TakesAnything(Good):
    """What is not understood is an empty answer."""

    def send(self, request: HttpRequest) -> HttpResponse:
        try:
            return super().send(request)
        except NoAnswer:
            return HttpResponse(200, {}, b"")


class LetsErrorsThrough(Good):
    """An error of the socket is the caller's."""

    def send(self, request: HttpRequest) -> HttpResponse:
        try:
            return super().send(request)
        except NoAnswer as error:
            raise AssertionError("not NoAnswer") from error


class StartsTheClockAtEachByte(Good):
    """The limit is one for silence, and a long one."""

    def send(self, request: HttpRequest) -> HttpResponse:
        return super().send(attrs.evolve(request, within_s=3.0))


class CollectsEverything(Good):
    """However long it is, it is read first."""

    def send(self, request: HttpRequest) -> HttpResponse:
        connection = connected(request)
        connection.request(request.method, "/")
        with connection.getresponse() as response, suppress(HTTPException, ValueError):
            while response.read1(1 << 20):
                pass
        raise NoAnswer("too long")


class ShowsTheRequest(Good):
    """The error names all that was sent."""

    def send(self, request: HttpRequest) -> HttpResponse:
        try:
            return super().send(request)
        except NoAnswer as error:
            raise NoAnswer(f"{request.headers} got no answer") from error


class KeepsTheRequestInItself(Good):
    """One attribute holds whatever request came last."""

    def __init__(self) -> None:
        super().__init__()
        self.together = threading.Barrier(8)

    def send(self, request: HttpRequest) -> HttpResponse:
        self.last = request
        self.together.wait(10)
        return super().send(self.last)


class Awaited(Good):
    """An async transport, which the suite awaits."""

    async def send(self, request: HttpRequest) -> Any:  # type: ignore[override]
        return await asyncio.to_thread(super().send, request)


def connected(request: HttpRequest) -> HTTPConnection:
    url = urlsplit(request.url)
    return HTTPConnection(url.hostname or "", url.port, timeout=10)
