"""What did the operator decide? Keys, addresses, limits and schedules, refused when they are weak.

Each field carries its meaning ("help") and its environment variable ("env") as attrs metadata; the
reference page is written from them. No key is ever shown, neither in a repr nor in an error; since
a key may stand in the wrong variable, no error quotes any value.
"""

from __future__ import annotations

import contextlib
import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias, cast, get_args
from urllib.parse import urlsplit

import attrs

from . import messages
from .errors import ConfigurationError, quoted
from .signing import SignaturePolicy

Mode = Literal["sandbox", "live"]
RequireSignature = Literal["hmac", "ecdsa", "both"]

# A field's check says what is wrong and what to do, as the end of a sentence, or None.
Check: TypeAlias = Callable[[object], "str | None"]
Read: TypeAlias = Callable[[str], object]

ENV_PREFIX: Final = "XPAY_"

_HOUR_S: Final = 3600
_DAY_S: Final = 24 * _HOUR_S

# Customers decide within minutes, so most lost webhooks are noticed in the first hour; from then on
# each question is likely to be in vain, and xPay discourages polling. After a week nobody waits.
_FIRST_HOURS_S: Final = (60, 120, 300, 900, 1 * _HOUR_S, 3 * _HOUR_S, 12 * _HOUR_S)
ASK_SCHEDULE_S: Final = _FIRST_HOURS_S + 6 * (_DAY_S,)
# The first retries outlast a restart, the later ones an outage, the last one a night without staff.
RETRY_SCHEDULE_S: Final = (5, 30, 120, 600, _HOUR_S, 6 * _HOUR_S, _DAY_S)


# --- reading one variable ------------------------------------------------------------------------


def _read_int(text: str) -> object:
    # Not int() alone, which also takes "1_0" and digits of other scripts.
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) else text


def _read_float(text: str) -> object:
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text, re.ASCII) else text


def _read_words(text: str) -> object:
    return tuple(word.strip() for word in text.split(","))


def _read_ints(text: str) -> object:
    return tuple(_read_int(word.strip()) for word in text.split(","))


# --- checking one value --------------------------------------------------------------------------

_KEY_CHARS_MIN: Final = 8
# What documentation and forms are pre-filled with. Whoever can guess the key can forge a payment.
_WELL_KNOWN_KEYS: Final = frozenset(
    {
        "changeme",
        "change-me",
        "change_me",
        "default",
        "example",
        "password",
        "placeholder",
        "private_key",
        "public_key",
        "secret",
        "signing_key",
        "signing-key",
        "test",
        "test_key",
        "test_private_key",
        "test_public_key",
        "test_secret",
        "test_signing_key",
        "webhook_secret",
        "whsec_test",
        "your_private_key",
        "your_public_key",
        "your_signing_key",
    }
)


def _key(value: object) -> str | None:
    """What is wrong with a key. None of these sentences may quote it."""
    if not isinstance(value, str):
        return "must be a string"
    if not value.strip():
        return "is empty: copy it from xPay's dashboard"
    if not value.isprintable() or re.search(r"\s", value):
        return "holds white space or a control character: copy it again, without line ends"
    if value.lower() in _WELL_KNOWN_KEYS:
        return "is a placeholder that anybody can guess: use the one from xPay's dashboard"
    if len(value) < _KEY_CHARS_MIN or len(set(value)) < _KEY_CHARS_MIN // 2:
        return f"is too short or too uniform: a key has at least {_KEY_CHARS_MIN} mixed characters"
    return None


def _public_key(value: object) -> str | None:
    # HTTP Basic authentication ends the user's name at the first colon.
    if isinstance(value, str) and ":" in value:
        return "holds a colon: give the public key alone, the private one separately"
    return _key(value)


def _one_of(*words: str) -> Check:
    def check(value: object) -> str | None:
        return None if value in words else f"must be one of {', '.join(words)}"

    return check


def _whole(low: int, high: int) -> Check:
    def check(value: object) -> str | None:
        if type(value) is int and low <= value <= high:
            return None
        return f"must be a whole number from {low} to {high}"

    return check


def _seconds(low: float, high: float) -> Check:
    def check(value: object) -> str | None:
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return None
        return f"must be a number of seconds from {low} to {high}"

    return check


def _tuple_of(check_item: Check, *, what: str, empty: bool = False) -> Check:
    def check(value: object) -> str | None:
        # A single string is refused: it would pass for a tuple of letters.
        if not isinstance(value, tuple):
            return f"must be a tuple of {what}"
        items = cast("tuple[object, ...]", value)
        if not items:
            return None if empty else f"is empty: give at least one of {what}"
        found = ((place, check_item(item)) for place, item in enumerate(items, start=1))
        return next((f"number {place} {text}" for place, text in found if text), None)

    return check


def _base_url(value: object) -> str | None:
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,255}", value, re.ASCII):
        return "must be an address such as https://api.xpaycheckout.com"
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return "cannot be read as an address"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "must begin with https:// and a host"
    if "@" in parts.netloc:
        return "holds a user name: keys have their own settings"
    if parts.query or parts.fragment or value.endswith(("/", "?", "#")):
        return "must end after the host or path: without slash, query or fragment"
    return None


def _checkout_host(value: object) -> str | None:
    labels = r"[a-z0-9-]+(\.[a-z0-9-]+)"
    if isinstance(value, str) and re.fullmatch(rf"{labels}*|\.{labels}+", value, re.ASCII):
        return None
    return "must be a host in lower case, or a suffix such as .xpaycheckout.com"


def _ecdsa_key(value: object) -> str | None:
    if isinstance(value, str):
        # Read in full, so that a bad key or a missing package stops the start, not a webhook.
        with contextlib.suppress(ConfigurationError):
            SignaturePolicy(ecdsa_public_keys=(value,), require="ecdsa")
            return None
    return "must be a P-256 key in base64, or the word xpay for the key that xPay has published"


def _metadata_key(value: object) -> str | None:
    pattern = rf"[A-Za-z0-9_.-]{{1,{messages.METADATA_KEY_CHARS_MAX}}}"
    if isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII):
        return None
    return f"must be 1 to {messages.METADATA_KEY_CHARS_MAX} letters, digits, '_', '.' or '-'"


# --- the settings --------------------------------------------------------------------------------


def _about(name: str, help_: str, check: Check, read: Read = str) -> dict[str, object]:
    return {"env": ENV_PREFIX + name, "help": help_, "check": check, "read": read}


@attrs.frozen(kw_only=True)
class Settings:
    """Everything an operator decides. Times are in seconds.

    Raises:
        ConfigurationError: once, naming every setting that is missing, weak or contradictory.
        MissingExtra: ECDSA keys are given and `cryptography` is not installed.
    """

    mode: Mode = attrs.field(
        metadata=_about(
            "MODE",
            "`live` moves money; `sandbox` is for xPay's test keys and for the local sandbox.",
            _one_of(*get_args(Mode)),
        )
    )
    public_key: str = attrs.field(
        repr=False,
        metadata=_about("PUBLIC_KEY", "The public API key of xPay's dashboard.", _public_key),
    )
    private_key: str = attrs.field(
        repr=False,
        metadata=_about("PRIVATE_KEY", "The private API key of xPay's dashboard.", _key),
    )
    webhook_secrets: tuple[str, ...] = attrs.field(
        default=(),
        repr=False,
        metadata=_about(
            "WEBHOOK_SECRETS",
            "The signing keys of the webhook endpoint: the current one, then those being rotated "
            "out. In the environment separated by commas.",
            _tuple_of(_key, what="signing keys", empty=True),
            _read_words,
        ),
    )
    base_url: str = attrs.field(
        default="https://api.xpaycheckout.com",
        metadata=_about("BASE_URL", "Where xPay's API is.", _base_url),
    )
    checkout_hosts: tuple[str, ...] = attrs.field(
        default=("pay.xpaycheckout.com", ".xpaycheckout.com"),
        metadata=_about(
            "CHECKOUT_HOSTS",
            "The hosts a customer may be sent to; a leading dot admits all hosts below it.",
            _tuple_of(_checkout_host, what="hosts"),
            _read_words,
        ),
    )
    ecdsa_public_keys: tuple[str, ...] = attrs.field(
        default=(),
        metadata=_about(
            "ECDSA_PUBLIC_KEYS",
            "Keys for the second signature, in base64; `xpay` means the key xPay has published.",
            _tuple_of(_ecdsa_key, what="public keys", empty=True),
            _read_words,
        ),
    )
    require_signature: RequireSignature = attrs.field(
        default="hmac",
        metadata=_about(
            "REQUIRE_SIGNATURE",
            "Which signature a webhook must carry. `ecdsa` alone proves that an event is from "
            "xPay, not that it is for you.",
            _one_of(*get_args(RequireSignature)),
        ),
    )
    # "60 per minute" on one page, "10 per second" on the newest: the smaller one is safe.
    requests_per_minute: int = attrs.field(
        default=60,
        metadata=_about(
            "REQUESTS_PER_MINUTE",
            "How often xPay is called at most; its limit counts your whole account.",
            _whole(1, 600),
            _read_int,
        ),
    )
    connect_timeout_s: float = attrs.field(
        default=2.0,
        metadata=_about(
            "CONNECT_TIMEOUT_S",
            "How long a connection to xPay may take to open.",
            _seconds(0.05, 60),
            _read_float,
        ),
    )
    read_timeout_s: float = attrs.field(
        default=10.0,
        metadata=_about(
            "READ_TIMEOUT_S", "How long xPay may take to answer.", _seconds(0.05, 120), _read_float
        ),
    )
    create_tries: int = attrs.field(
        default=3,
        metadata=_about(
            "CREATE_TRIES",
            "How often creating a payment is tried, with one idempotency key, while the customer "
            "waits.",
            _whole(1, 10),
            _read_int,
        ),
    )
    create_budget_s: float = attrs.field(
        default=20.0,
        metadata=_about(
            "CREATE_BUDGET_S",
            "How long all these tries may take together.",
            _seconds(0.1, 120),
            _read_float,
        ),
    )
    # "2 s to connect and 2 s to read": an answer after that is a failure to xPay.
    webhook_deadline_s: float = attrs.field(
        default=1.5,
        metadata=_about(
            "WEBHOOK_DEADLINE_S",
            "When a webhook that is not stored yet is answered 503; xPay gives up after 2 seconds.",
            _seconds(0.05, 1.9),
            _read_float,
        ),
    )
    # The parser refuses more; an event is about 500 bytes.
    body_bytes_max: int = attrs.field(
        default=1024 * 1024,
        metadata=_about(
            "BODY_BYTES_MAX",
            "How large a webhook may be.",
            _whole(4096, 1024 * 1024),
            _read_int,
        ),
    )
    ask_schedule_s: tuple[int, ...] = attrs.field(
        default=ASK_SCHEDULE_S,
        metadata=_about(
            "ASK_SCHEDULE_S",
            "The pauses before each question to xPay about a payment that is still open.",
            _tuple_of(_whole(1, 30 * _DAY_S), what="whole seconds"),
            _read_ints,
        ),
    )
    ask_batch: int = attrs.field(
        default=20,
        metadata=_about(
            "ASK_BATCH",
            "How many open payments one pass of the reconciler asks about.",
            _whole(1, 1000),
            _read_int,
        ),
    )
    retry_schedule_s: tuple[int, ...] = attrs.field(
        default=RETRY_SCHEDULE_S,
        metadata=_about(
            "RETRY_SCHEDULE_S",
            "The pauses before each retry of a handler that failed; then a person is asked.",
            _tuple_of(_whole(1, 30 * _DAY_S), what="whole seconds"),
            _read_ints,
        ),
    )
    lease_s: int = attrs.field(
        default=60,
        metadata=_about(
            "LEASE_S",
            "How long a worker owns a job; one that takes longer may be run by another, too.",
            _whole(1, _DAY_S),
            _read_int,
        ),
    )
    create_lease_s: int = attrs.field(
        default=30,
        metadata=_about(
            "CREATE_LEASE_S",
            "How long a creation without answer is left to the process that began it.",
            _whole(1, _HOUR_S),
            _read_int,
        ),
    )
    metadata_key: str = attrs.field(
        default="xpay_flow_intent",
        metadata=_about(
            "METADATA_KEY",
            "Under which name our intent id travels in xPay's metadata. Changing it makes open "
            "payments harder to recognise.",
            _metadata_key,
        ),
    )
    # Below the 30 s after which common proxies cut a silent connection.
    status_wait_s_max: float = attrs.field(
        default=25.0,
        metadata=_about(
            "STATUS_WAIT_S_MAX",
            "How long a status query may wait for news.",
            _seconds(0, 120),
            _read_float,
        ),
    )

    def __attrs_post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in attrs.fields(Settings)}
        _raise_if_any(f"{name} {text}" for name, text in _problems(values))

    @property
    def allow_loopback_checkout(self) -> bool:
        """Whether a customer may be sent to this machine: only for the local sandbox."""
        return self.mode == "sandbox"

    @property
    def signature_policy(self) -> SignaturePolicy:
        """Which signatures a webhook must carry."""
        return SignaturePolicy(
            hmac_secrets=self.webhook_secrets,
            ecdsa_public_keys=self.ecdsa_public_keys,
            require=self.require_signature,
        )

    @classmethod
    def sandbox(cls, **changes: Any) -> Settings:
        """Settings that fit the local sandbox as it starts by default, with `changes`."""
        ready: dict[str, Any] = {
            "mode": "sandbox",
            "public_key": "sandbox_public_key",
            "private_key": "sandbox_private_key",
            "webhook_secrets": ("sandbox_signing_key_0123456789",),
            "base_url": "http://127.0.0.1:4010",
        }
        return cls(**(ready | changes))

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, prefix: str = ENV_PREFIX
    ) -> Settings:
        """Settings out of environment variables; an empty variable counts as not set.

        Args:
            environ: `os.environ` if not given.
            prefix: of the variables that are ours. Others with this prefix are taken for typing
                errors.

        Raises:
            ConfigurationError: once, naming every variable that is missing, wrong or unknown.
        """
        environ = os.environ if environ is None else environ
        names = {_variable(field, prefix): field for field in attrs.fields(Settings)}
        given = {
            field.name: field.metadata["read"](environ[name])
            for name, field in names.items()
            if environ.get(name)
        }
        _raise_if_any((*_unknown(environ, names, prefix), *_wrong(given, names)))
        return cls(**given)


# --- all problems at once ------------------------------------------------------------------------


def _variable(field: attrs.Attribute[Any], prefix: str) -> str:
    return prefix + str(field.metadata["env"]).removeprefix(ENV_PREFIX)


def _unknown(environ: Mapping[str, str], names: Mapping[str, object], prefix: str) -> Iterator[str]:
    for name in sorted(environ):
        if name.startswith(prefix) and name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}?" if close else "remove it or use another prefix"
            yield f"{quoted(name)} is not a setting: {hint}"


def _wrong(given: Mapping[str, object], names: Mapping[str, attrs.Attribute[Any]]) -> Iterator[str]:
    defaults = {f.name: f.default for f in names.values() if f.default is not attrs.NOTHING}
    values = defaults | dict(given)
    found = dict(_problems(values))
    for name, field in names.items():
        if field.name not in values:
            yield f"{name} is missing: {field.metadata['help']}"
        elif field.name in found:
            yield f"{name} {found[field.name]}"


def _problems(values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Name and problem of each bad value; rules over several values see the good ones only."""
    good: dict[str, Any] = {}
    for field in attrs.fields(Settings):
        if field.name in values:
            text = field.metadata["check"](values[field.name])
            if text:
                yield field.name, text
            else:
                good[field.name] = values[field.name]
    yield from _signature_problems(good)
    yield from _lease_problems(good)
    if good.get("mode") == "live":
        yield from _live_problems(good)


def _signature_problems(good: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    require = good.get("require_signature")
    if require in ("hmac", "both") and good.get("webhook_secrets") == ():
        yield (
            "webhook_secrets",
            f"is empty, but require_signature is {require!r}: give the endpoint's signing key",
        )
    if require in ("ecdsa", "both") and good.get("ecdsa_public_keys") == ():
        yield (
            "ecdsa_public_keys",
            f"is empty, but require_signature is {require!r}: give xpay for xPay's own key",
        )


def _lease_problems(good: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    budget_s, lease_s = good.get("create_budget_s"), good.get("create_lease_s")
    # Otherwise a second process would create while the first one still waits.
    if budget_s is not None and lease_s is not None and lease_s <= budget_s:
        yield "create_lease_s", f"must be longer than create_budget_s, which is {budget_s}"


# --- what live mode adds -------------------------------------------------------------------------

_SANDBOX_KEY_PREFIX: Final = "sandbox_"
_LIVE_SECRET_CHARS_MIN: Final = 16


def _live_problems(good: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("public_key", "private_key"):
        if good.get(name, "").startswith(_SANDBOX_KEY_PREFIX):
            yield name, "is a key of the local sandbox: live mode needs one of xPay's dashboard"
    secrets = good.get("webhook_secrets", ())
    if any(secret.startswith(_SANDBOX_KEY_PREFIX) for secret in secrets):
        yield "webhook_secrets", "has a key of the local sandbox, which anybody can sign with"
    elif any(len(secret) < _LIVE_SECRET_CHARS_MIN for secret in secrets):
        least = f"at least {_LIVE_SECRET_CHARS_MIN} characters"
        yield "webhook_secrets", f"has one that is too short: live mode needs {least}"
    if "base_url" in good and (text := _not_live(good["base_url"])):
        yield "base_url", text


def _not_live(base_url: str) -> str | None:
    parts = urlsplit(base_url)
    if parts.scheme != "https":
        return "must begin with https:// in live mode: it carries your keys"
    if _is_near(parts.hostname or ""):
        return "is a private or local address: live mode needs xPay's own"
    return None


def _is_near(host: str) -> bool:
    host = host.rstrip(".")
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        # A name without a dot, or a number in another form such as "127.1", is local, too.
        local = host.endswith((".localhost", ".local", ".internal")) or "." not in host
        return local or bool(re.fullmatch(r"[0-9a-fx.]*[0-9]", host))


def _raise_if_any(sentences: Iterator[str] | tuple[str, ...]) -> None:
    found = tuple(sentences)
    if found:
        raise ConfigurationError("\n".join(("the settings cannot be used:", *found)))
