"""HTTP as values: a client's request, xPay's answer, and the case that none came."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import unquote

import attrs

from xpay_flow import messages

Pairs = tuple[tuple[str, str], ...]


def _pairs(headers: Mapping[str, str] | Pairs) -> Pairs:
    items = headers if isinstance(headers, tuple) else headers.items()
    return tuple((name.lower(), value) for name, value in items)


def _bytes(body: bytes | bytearray | memoryview) -> bytes:
    return bytes(body)


@attrs.frozen
class Request:
    """One HTTP request.

    Args:
        method: upper case.
        path: as sent, percent-encoded, without the query.
        query: as sent, without the question mark.
        headers: a mapping or a tuple of pairs; names are compared without regard to case.
        body: the exact bytes.
    """

    method: str
    path: str
    query: str = ""
    # Not shown: the Authorization header holds the private key.
    headers: Pairs = attrs.field(default=(), converter=_pairs, repr=False)
    body: bytes = attrs.field(default=b"", converter=_bytes, repr=False)

    def header(self, name: str) -> str | None:
        """The first value of a header, without surrounding white space."""
        return next((v.strip() for n, v in self.headers if n == name.lower()), None)

    @property
    def segments(self) -> tuple[str, ...]:
        """The decoded parts of the path: `/payments/cancel/in_1` has three."""
        return tuple(unquote(part) for part in self.path.strip("/").split("/"))


@attrs.frozen
class Response:
    """One HTTP response; `delay_ms` is how long the server should hold it back."""

    status: int
    headers: Pairs = attrs.field(default=(), converter=_pairs)
    body: bytes = b""
    delay_ms: int = 0

    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)


class NoAnswer(enum.Enum):
    """The connection broke: the client cannot know whether its request took effect."""

    NO_ANSWER = "no answer"


NO_ANSWER: Final[Literal[NoAnswer.NO_ANSWER]] = NoAnswer.NO_ANSWER


def json_response(status: int, value: object) -> Response:
    """A JSON answer, compact and in UTF-8."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Response(status, {"content-type": "application/json"}, body)


def error_response(status: int, code: str, description: str) -> Response:
    """xPay's error body: two required strings and nothing else."""
    return json_response(status, {"errorCode": code, "errorDescription": description})


def server_error() -> Response:
    return error_response(500, messages.INTERNAL_SERVER_ERROR, "Something went wrong on our side")
