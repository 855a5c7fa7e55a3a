"""Adapters wrong in one way each. The suite must find every one, by the name of its duty."""

from __future__ import annotations

import asyncio
import gzip
import html
import json
from collections.abc import Iterable
from http import HTTPStatus
from io import BytesIO
from threading import Barrier, Lock, Semaphore
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

import attrs

from xpay_flow import Flow, Money
from xpay_flow.adapter_kit import ASGIAnswers, Body, Price, parse_query, too_slow
from xpay_flow.endpoints import Header, RequestHandler, WebRequest, WebResponse, json_response


class Good:
    """A WSGI adapter in a few lines, in pieces that others below get wrong."""

    def __init__(self, flow: RequestHandler, prefix: str) -> None:
        self.flow = flow
        self.prefix = prefix

    def price(self, price: Price) -> Price:
        return price

    def __call__(self, environ: Any, start: Any) -> Iterable[bytes]:
        request = WebRequest(
            method=environ["REQUEST_METHOD"],
            path=self.path(environ["PATH_INFO"]),
            query=self.query(environ["QUERY_STRING"]),
            headers=tuple(self.headers(environ)),
            body=self.body(environ),
        )
        response = self.response(self.answer(request))
        phrase = HTTPStatus(response.status).phrase
        start(f"{response.status} {phrase}", list(response.headers))
        return [response.body]

    def path(self, path: str) -> str:
        return path.removeprefix(self.prefix) if path.startswith(self.prefix + "/") else "/"

    def query(self, query: str) -> dict[str, str]:
        return parse_query(query.encode())

    def headers(self, environ: Any) -> Iterable[Header]:
        for key, value in environ.items():
            if key.startswith("HTTP_") or key == "CONTENT_TYPE":
                yield key.removeprefix("HTTP_").replace("_", "-"), value

    def body(self, environ: Any) -> bytes:
        body = Body(self.flow)
        length = int(environ.get("CONTENT_LENGTH", body.wanted))
        body.add(environ["wsgi.input"].read(min(length, body.wanted)))
        return bytes(body)

    def answer(self, request: WebRequest) -> WebResponse:
        return self.flow.handle(request)

    def response(self, response: WebResponse) -> WebResponse:
        return response


class WantsNoSlash(Good):
    """An address with a slash at its end is another address."""

    def path(self, path: str) -> str:
        return "/" if path.endswith("/") else super().path(path)


class AddsASlash(Good):
    """The framework has every address end with a slash, and redirects to it."""

    def answer(self, request: WebRequest) -> WebResponse:
        if request.path.endswith("/"):
            return super().answer(request)
        location = (("Location", f"{self.prefix}{request.path}/"),)
        return WebResponse(status=308, headers=(*location, ("Content-Length", "0")))


class TakesNoPieces(Good):
    """A read gives what has arrived, and the adapter reads once."""

    def body(self, environ: Any) -> bytes:
        body = Body(self.flow)
        body.add(next(environ["wsgi.input"]._chunks, b""))
        return bytes(body)


class TakesChunksForNothing(Good):
    """Without a length there is no body."""

    def body(self, environ: Any) -> bytes:
        return super().body({"CONTENT_LENGTH": "0"} | environ)


class ParsesForms(Good):
    """The framework has taken a form apart before the adapter is called."""

    def body(self, environ: Any) -> bytes:
        is_form = "form" in environ.get("CONTENT_TYPE", "")
        return b"" if is_form else super().body(environ)


class Unpacks(Good):
    """A middleware unpacks what is compressed, as if it had never been."""

    def body(self, environ: Any) -> bytes:
        body = super().body(environ)
        return gzip.decompress(body) if environ.pop("HTTP_CONTENT_ENCODING", "") else body

    def __call__(self, environ: Any, start: Any) -> Iterable[bytes]:
        unpacked = {"wsgi.input": BytesIO(self.body(environ)), "CONTENT_LENGTH": "9999"}
        return super().__call__(environ | unpacked, start)


class ReadsHeadersAsASCII(Good):
    """A header that is not ASCII is an error of the server."""

    def answer(self, request: WebRequest) -> WebResponse:
        if all(value.isascii() for _, value in request.headers):
            return super().answer(request)
        return json_response(500, {"error": "UnicodeEncodeError"})


class ParsesBeforeItVerifies(Good):
    """Whoever sends no JSON is told so first."""

    def answer(self, request: WebRequest) -> WebResponse:
        if request.path == "/webhook":
            try:
                json.loads(request.body)
            except (ValueError, RecursionError):
                return json_response(400, {"error": "no JSON"})
        return super().answer(request)


class TriesAgain(Good):
    """What did not succeed is tried once more, in the same request."""

    def answer(self, request: WebRequest) -> WebResponse:
        response = super().answer(request)
        return super().answer(request) if response.status == 503 else response


class WaitsForSlowStores(Good):
    """What took too long is accepted all the same."""

    def response(self, response: WebResponse) -> WebResponse:
        return attrs.evolve(response, status=200) if response.status == 503 else response


class RefusesTwins(Good):
    """A body that is under way already is refused."""

    def __init__(self, flow: RequestHandler, prefix: str) -> None:
        super().__init__(flow, prefix)
        self.together, self.under_way = Barrier(8), set[bytes]()

    def answer(self, request: WebRequest) -> WebResponse:
        is_twin = request.body in self.under_way
        self.under_way.add(request.body)
        self.together.wait(10)
        return json_response(409, {"error": "twin"}) if is_twin else super().answer(request)


class RunsHandlers(Good):
    """What is due after a webhook is done before it is answered."""

    def answer(self, request: WebRequest) -> WebResponse:
        response = super().answer(request)
        if request.method == "POST":
            cast(Flow, self.flow).deliver()
        return response


class TakesQueriesForText(Good):
    """A query that is no UTF-8 is an error of the server."""

    def __call__(self, environ: Any, start: Any) -> Iterable[bytes]:
        try:
            unquote(environ["QUERY_STRING"], errors="strict")
        except UnicodeDecodeError:
            start("500 Internal Server Error", [])
            return []
        return super().__call__(environ, start)


class TrustsTheBrowser(Good):
    """What the browser says that it costs, it costs."""

    def price(self, price: Price) -> Price:
        def trusting(order: Any) -> Any:
            priced = cast(Any, price(order))
            return priced and attrs.evolve(priced, money=Money(order.get("amount", 1), "USD"))

        return trusting


class PricesForms(Good):
    """A form of another site begins a checkout, too."""

    def answer(self, request: WebRequest) -> WebResponse:
        if b"order=" in request.body:
            json_type = ("content-type", "application/json")
            request = attrs.evolve(request, headers=(json_type,), body=b'{"order": "42"}')
        return super().answer(request)


class WritesTheBodyAgain(Good):
    """The framework parsed the JSON, and the adapter writes it out again."""

    def body(self, environ: Any) -> bytes:
        body = super().body(environ)
        try:
            return json.dumps(json.loads(body)).encode()
        except ValueError:
            return body


class KeepsOneHeader(Good):
    """Headers are a dictionary, in which the last one of a name stays."""

    def headers(self, environ: Any) -> Iterable[Header]:
        return [(name, value.split(",")[-1]) for name, value in super().headers(environ)]


class AcknowledgesEverything(Good):
    """Errors upset monitoring, so there are none."""

    def response(self, response: WebResponse) -> WebResponse:
        return attrs.evolve(response, status=200)


class CutsTheBody(Good):
    """Text that is too long is cut to the limit, silently."""

    def body(self, environ: Any) -> bytes:
        return super().body(environ)[: self.flow.settings.body_bytes_max]


class ReadsEverything(Good):
    """The limit is left to the endpoint, after the body has been collected."""

    def body(self, environ: Any) -> bytes:
        return environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH", "0")))


class KeepsTheRequestInItself(Good):
    """One attribute holds the body of whatever request came last."""

    def __init__(self, flow: RequestHandler, prefix: str) -> None:
        super().__init__(flow, prefix)
        self.together = Barrier(8)

    def answer(self, request: WebRequest) -> WebResponse:
        self.last = request.body
        self.together.wait(10)
        return super().answer(attrs.evolve(request, body=self.last))


class LosesHeaders(Good):
    """Only the type and the length of a response are passed on."""

    def response(self, response: WebResponse) -> WebResponse:
        kept = ("Content-Type", "Content-Length")
        headers = tuple(pair for pair in response.headers if pair[0] in kept)
        return attrs.evolve(response, headers=headers)


class LosesTheType(Good):
    """The framework takes everything for HTML."""

    def response(self, response: WebResponse) -> WebResponse:
        others = tuple(pair for pair in response.headers if pair[0] != "Content-Type")
        html_type = ("Content-Type", "text/html; charset=utf-8")
        return attrs.evolve(response, headers=(html_type, *others))


class HasItsOwnErrorPages(Good):
    """The framework replaces the body of whatever is an error."""

    def response(self, response: WebResponse) -> WebResponse:
        if response.status < 400:
            return response
        return json_response(response.status, {"error": HTTPStatus(response.status).phrase})


class DecodesTwice(Good):
    """The framework decoded the query already, and the adapter does it again."""

    def query(self, query: str) -> dict[str, str]:
        return super().query(unquote(query))


class TakesTheFirstValue(Good):
    """Of a parameter given twice, the first counts."""

    def query(self, query: str) -> dict[str, str]:
        return dict(reversed(parse_qsl(query, keep_blank_values=True)))


class ServesOneAtATime(Good):
    """While one request is served, others are turned away."""

    def __init__(self, flow: RequestHandler, prefix: str) -> None:
        super().__init__(flow, prefix)
        self.lock = Lock()

    def answer(self, request: WebRequest) -> WebResponse:
        if not self.lock.acquire(blocking=False):
            return json_response(503, {"error": "busy"})
        with_lock_held = super().answer(request)
        self.lock.release()
        return with_lock_held


class HasFewPlaces(Good):
    """Customers who wait hold the threads of the server, and others are turned away."""

    def __init__(self, flow: RequestHandler, prefix: str) -> None:
        super().__init__(flow, prefix)
        self.places = Semaphore(5)

    def answer(self, request: WebRequest) -> WebResponse:
        if "wait" not in request.query:
            return super().answer(request)
        if not self.places.acquire(blocking=False):
            return json_response(503, {"error": "busy"})
        response = super().answer(request)
        self.places.release()
        return response


class NeverWaits(Good):
    """Parameters that the adapter does not know are left out."""

    def query(self, query: str) -> dict[str, str]:
        return {name: value for name, value in super().query(query).items() if name != "wait"}


class DecodesMarkup(Good):
    """A filter makes the page readable again."""

    def response(self, response: WebResponse) -> WebResponse:
        return attrs.evolve(response, body=html.unescape(response.body.decode()).encode())


class LosesRequestHeaders(Good):
    """Only the signature is passed on."""

    def headers(self, environ: Any) -> Iterable[Header]:
        return [pair for pair in super().headers(environ) if pair[0].startswith("XPAY")]


class ForgetsThePrefix(Good):
    """The path is the whole path."""

    def path(self, path: str) -> str:
        return path


class LooksAtTheEnd(Good):
    """The last part of the path names the endpoint, wherever it is."""

    def path(self, path: str) -> str:
        return "/" + path.rpartition("/")[2]


class LooksAtTheBeginning(Good):
    """A path that begins like an endpoint's is taken for it."""

    def path(self, path: str) -> str:
        known = ("/webhook", "/return", "/payment-status")
        rest = super().path(path)
        return next((name for name in known if rest.startswith(name)), rest)


class KnowsNoOtherMethods(Good):
    """A method for which there is no function is nowhere."""

    def answer(self, request: WebRequest) -> WebResponse:
        wanted = "POST" if request.path == "/webhook" else "GET"
        if request.method not in (wanted, "HEAD"):
            return json_response(404, {"error": "not found"})
        return super().answer(request)


class TakesHeadForGet(Good):
    """HEAD is answered with a body."""

    def answer(self, request: WebRequest) -> WebResponse:
        method = "GET" if request.method == "HEAD" else request.method
        return super().answer(attrs.evolve(request, method=method))


class MeasuresAgain(Good):
    """The length is that of what is sent, which for HEAD is nothing."""

    def response(self, response: WebResponse) -> WebResponse:
        others = tuple(pair for pair in response.headers if pair[0] != "Content-Length")
        length = ("Content-Length", str(len(response.body)))
        return attrs.evolve(response, headers=(*others, length))


# --- on ASGI -------------------------------------------------------------------------------------


class GoodASGI(Good):
    """An ASGI adapter in a few lines, of which others below get one wrong."""

    def __init__(self, flow: RequestHandler, prefix: str) -> None:
        super().__init__(flow, prefix)
        self.answers = ASGIAnswers(flow)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # type: ignore[override]
        response = await self.respond(self.path(scope["path"]), scope, receive)
        if response is not None:
            headers = [(name.lower().encode(), value.encode()) for name, value in response.headers]
            start = {"type": "http.response.start", "status": response.status, "headers": headers}
            await send(start)
            await send({"type": "http.response.body", "body": response.body})

    async def respond(self, path: str, scope: Any, receive: Any) -> WebResponse | None:
        return await self.answers.answer(path, scope, receive)


class DoesNotListen(GoodASGI):
    """After the body, what the server reports is not looked at."""

    async def respond(self, path: str, scope: Any, receive: Any) -> WebResponse | None:
        parts = [await receive()]
        while parts[-1].get("more_body"):
            parts.append(await receive())
        left = iter(parts)

        async def only_the_body() -> Any:
            if (part := next(left, None)) is not None:
                return part
            return await asyncio.get_running_loop().create_future()

        return await super().respond(path, scope, only_the_body)


class CollectsTheBodyFirst(GoodASGI):
    """A middleware puts the body together before the adapter is called."""

    async def respond(self, path: str, scope: Any, receive: Any) -> WebResponse | None:
        parts = [await receive()]
        while parts[-1].get("more_body"):
            parts.append(await receive())
        body = b"".join(part.get("body", b"") for part in parts)
        whole = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def at_once() -> Any:
            return next(whole, None) or await receive()

        return await super().respond(path, scope, at_once)


class RemembersWhatItBegan(GoodASGI):
    """What was seen once is acknowledged, whatever became of it."""

    def __init__(self, flow: RequestHandler, prefix: str) -> None:
        super().__init__(flow, prefix)
        self.seen = set[str]()

    async def respond(self, path: str, scope: Any, receive: Any) -> WebResponse | None:
        signed = str(scope["headers"])
        if path == "/webhook" and signed in self.seen:
            return json_response(200, {"received": True})
        self.seen.add(signed)
        return await super().respond(path, scope, receive)


class StartsTheClockAtEachByte(GoodASGI):
    """The limit is one for silence."""

    async def respond(self, path: str, scope: Any, receive: Any) -> WebResponse | None:
        more = True
        while more:
            try:
                async with asyncio.timeout(self.flow.settings.body_timeout_s):
                    more = (await receive()).get("more_body", False)
            except TimeoutError:
                return too_slow()
        return json_response(408, {"error": "too-slow"})


class KeepsTheHintToItself(Good):
    """What an answer has beside the status is left out."""

    def response(self, response: WebResponse) -> WebResponse:
        if b"retry_after_s" not in response.body:
            return response
        said = json.loads(response.body)
        return json_response(response.status, {"status": said["status"], "final": said["final"]})
