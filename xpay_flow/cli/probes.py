"""Does a mount do what xPay needs? Signed and forged requests through the running app.

The signed probe is one event of the type `xpay_flow.doctor`, always the same: at an address it is
recorded once, among the unmatched events, and no handler is called for it.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from typing import Final, cast

from xpay_flow import Settings, StoreError, XPayFlowError
from xpay_flow.messages import HMAC_HEADER, PROBE_EVENT_TYPE, RETURN_PARAMETER
from xpay_flow.ports import RecentListing, Store
from xpay_flow.records import Record
from xpay_flow.signing import REASONS
from xpay_flow.testing.takeover import AnyFlow

from .findings import Finding
from .mounts import WEBHOOK, Mount, Reply, mount_at
from .stores import existing_store, is_missing_file

ABOUT: Final = "app"
JSON_TYPE: Final = {"Content-Type": "application/json"}
# A spelling that no serialiser would write again, and then a plain one of another event.
_ODD: Final = (
    b'{ "eventType":"%s" ,\n  "eventId" : "whe_xpay_flow_doctor_odd","eventTime":1e0,'
    b'"note":"Zo\\u00eb \xe2\x82\xb9 \\/"  }' % PROBE_EVENT_TYPE.encode()
)
_PLAIN: Final = json.dumps(
    {"eventType": PROBE_EVENT_TYPE, "eventId": "whe_xpay_flow_doctor", "eventTime": 1}
).encode()
# What is pending for longer has found nobody to call it.
OVERDUE_S: Final = 60
# Loops look at least so often; a body's time limit is met within this.
MARGIN_S: Final = 3.0
RECENT_MAX: Final = 200
HOUR_S: Final = 3600


def check_app_mount(
    target: str, webhook: str, settings: Settings | None, store_url: str | None
) -> list[Finding]:
    """Everything about the mount that `--app` names, and about what its store shows of it."""
    found: list[Finding] = []
    try:
        with mount_at(target, webhook, settings) as mount:
            found += probe(mount)
            settings = mount.settings or settings
            now_ms = time.time_ns() // 1_000_000
            if settings is None:
                return found
            if mount.store is not None:
                found += traces(mount.store, settings, now_ms)
            elif store_url is not None and not is_missing_file(store_url):
                with existing_store(store_url) as store:
                    found += traces(store, settings, now_ms)
    except XPayFlowError as error:
        found.append(_wrong(str(error)))
    return found


def probe(mount: Mount) -> Iterator[Finding]:
    """What the mount answers to requests like xPay's, to forged ones, and to a customer's."""
    status = mount.send("GET", f"/payment-status?{RETURN_PARAMETER}=in_doctor", {}, b"")
    forged = _post(mount, _PLAIN, "a key that is not the shop's")
    stands_in_the_way = _in_the_way(forged)
    if stands_in_the_way is not None:
        yield stands_in_the_way
        return
    yield _ok("the webhook's route is reached, without a login, a CSRF token and a redirect")
    yield _ok("a forged webhook is refused")
    if status.status != 404 or _member(status, "known") is not False:
        yield _wrong(
            f"the status query is answered {status.status}, and not by xpay-flow: mount all of "
            "routes(flow), and leave its addresses without a login"
        )
    yield from _signed(mount)
    yield from _limits(mount)
    yield from _addresses(mount)
    yield from _slow_body(mount)
    if mount.flow is not None:
        yield from _handlers(mount.flow, mount.works)


def _in_the_way(reply: Reply) -> Finding | None:
    """Why a forged webhook did not reach our endpoint, if so."""
    if reply.status == 401 and _member(reply, "error") in REASONS:
        return None
    advice = {
        2: "was accepted: something in front of xpay-flow answers, or swallows its status; "
        "register the address of routes(flow) itself",
        3: f"was redirected to {reply.headers.get('location', 'elsewhere')}, where xPay does not "
        "go: register the address without redirects, and leave the route without a login",
        5: "failed: look at the log of the app",
    }.get(reply.status // 100)
    if reply.status == 403 or (reply.status == 401 and advice is None):
        advice = (
            "was refused by something else than its signature: take this one route out of CSRF "
            "tokens, logins and firewalls"
        )
    elif advice is None:
        advice = "was not answered by xpay-flow: mount routes(flow) there, or name its address"
    return _wrong(f"a forged webhook {advice} (status {reply.status})")


def _signed(mount: Mount) -> Iterator[Finding]:
    settings = mount.settings
    if settings is None or not settings.webhook_secrets or settings.require_signature != "hmac":
        yield _note("signed probes need the app's XPAY_WEBHOOK_SECRETS in this environment")
        return
    plain, odd = (_post(mount, body, settings.webhook_secrets[0]) for body in (_PLAIN, _ODD))
    if plain.status == odd.status == 200:
        yield _ok("a signed webhook is accepted, and its body arrives byte for byte")
        slowest_s = max(plain.took_s, odd.took_s)
        verdict = _ok if slowest_s < settings.webhook_deadline_s else _wrong
        yield verdict(f"it is answered within {slowest_s * 1000:.0f} ms; xPay gives up after 2 s")
    elif plain.status == 200:
        yield _wrong(
            "the body of a webhook is changed on its way: something parses and writes it anew, "
            f"before the route sees it (status {odd.status}); hand on the exact bytes"
        )
    elif 401 in (plain.status, odd.status):
        yield _wrong(
            "a signed webhook is refused: the body was read or changed before the route, or the "
            "first key of XPAY_WEBHOOK_SECRETS here is not the app's"
        )
    else:
        yield _wrong(
            f"a signed webhook is answered {plain.status}: look at the log of the app, and at "
            "its store"
        )


def _limits(mount: Mount) -> Iterator[Finding]:
    limit = (mount.settings or Settings.sandbox()).body_bytes_max
    reply = mount.send("POST", WEBHOOK, JSON_TYPE, b" " * (limit + 1))
    if reply.status == 413:
        yield _ok(f"a body over {limit} bytes is refused")
    else:
        yield _wrong(
            f"a body over {limit} bytes is answered {reply.status}: the limit of "
            "XPAY_BODY_BYTES_MAX is not this, or a part of the body is cut off before"
        )


def _addresses(mount: Mount) -> Iterator[Finding]:
    slash = mount.send("POST", WEBHOOK + "/", JSON_TYPE, _PLAIN)
    if slash.status != 401:
        yield _note(
            f"the address with a slash at its end is answered {slash.status}: register the one "
            "without"
        )
    get = mount.send("GET", WEBHOOK, {}, b"")
    if get.status != 405:
        yield _note(f"GET at the webhook's address is answered {get.status}, in place of 405")


def _slow_body(mount: Mount) -> Iterator[Finding]:
    if mount.begin_body is None:
        yield _note("slow bodies show only behind a server: name its address, --app https://…")
        return
    limit_s = (mount.settings or Settings.sandbox()).body_timeout_s
    began = time.monotonic()
    status = mount.begin_body(limit_s + MARGIN_S)
    took_s = time.monotonic() - began
    if status is not None and status in (400, 408):
        yield _ok(f"a body that does not arrive is given up after {took_s:.0f} s")
    else:
        yield _note(
            f"a body that does not arrive is not given up after {took_s:.0f} s: put a proxy in "
            "front that takes bodies whole, since such requests hold a worker each"
        )


def _handlers(flow: AnyFlow, works: bool) -> Iterator[Finding]:
    if "on_success" not in flow.handlers:
        yield _wrong(
            "no on_success handler is registered where the app is imported, so what is paid is not "
            "fulfilled: import the module that registers it"
        )
    else:
        yield _ok(f"handlers: {', '.join(sorted(flow.handlers))}")
    if works:
        yield _ok("they are called in the app's own processes")
    else:
        yield _note("they are called by xpay-flow worker (background=False): keep one running")


# --- what the store shows -------------------------------------------------------------------------


def traces(store: Store, settings: Settings, now_ms: int) -> Iterator[Finding]:
    """Whether loops or workers run, and webhooks arrive, as the store shows."""
    try:
        overdue = len(store.due("deliver", now_ms - OVERDUE_S * 1000, 1000, settings.realms))
        recent = list(store.recent(RECENT_MAX)) if isinstance(store, RecentListing) else None
    except StoreError as error:
        yield _wrong(f"the store does not answer: {error}")
        return
    if overdue:
        yield _wrong(
            f"{overdue} payment(s) have handler calls that are due for more than {OVERDUE_S} s: no "
            "loop and no worker runs, or all of them are busy; start xpay-flow worker"
        )
    else:
        yield _ok("no handler call waits for a loop or a worker")
    if recent is not None:
        yield _webhook_seen([r for r in recent if r.realm in settings.realms], now_ms)


def _webhook_seen(records: list[Record], now_ms: int) -> Finding:
    came = [
        recorded.at_ms
        for record in records
        for recorded in record.events
        if recorded.event.source == "webhook" and recorded.event.type != PROBE_EVENT_TYPE
    ]
    if came:
        return _ok(f"the last webhook came {_ago((now_ms - max(came)) / 1000)} ago")
    if not any(record.intent is not None for record in records):
        return _note("there is no payment yet, so no webhook can have come")
    return _wrong(
        "no webhook has ever come: register the address in xPay's dashboard, or with "
        "xpay-flow webhook register"
    )


def _ago(seconds: float) -> str:
    for unit, size in (("day", 24 * HOUR_S), ("hour", HOUR_S), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"


# --- helpers -------------------------------------------------------------------------------------


def _post(mount: Mount, body: bytes, secret: str) -> Reply:
    """The reply to a webhook that is signed as xPay does."""
    signature = base64.b64encode(hmac.digest(secret.encode(), body, "sha512")).decode()
    return mount.send("POST", WEBHOOK, {**JSON_TYPE, HMAC_HEADER: signature}, body)


def _member(reply: Reply, name: str) -> object:
    try:
        found: object = json.loads(reply.body)
    except ValueError:
        return None
    return cast("dict[str, object]", found).get(name) if isinstance(found, dict) else None


def _ok(text: str) -> Finding:
    return Finding(verdict="ok", about=ABOUT, text=text)


def _note(text: str) -> Finding:
    return Finding(verdict="note", about=ABOUT, text=text)


def _wrong(text: str) -> Finding:
    return Finding(verdict="wrong", about=ABOUT, text=text)
