"""What may an operator decide? Every setting, its default, its meaning and its check.

Each field carries its meaning ("help") and its environment variable ("env") as attrs metadata; the
reference page is written from them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import Any, Final, Literal, get_args

import attrs

from ..money import Money
from ..realm import UNNAMED, UNNAMED_WORD, Realms, fingerprint, realm_name
from ..signing import Require, SignaturePolicy
from . import checks
from .checks import Check
from .environment import (
    ENV_PREFIX,
    Read,
    read_environment,
    read_float,
    read_int,
    read_ints,
    read_words,
)
from .problems import problems, raise_if_any

Mode = Literal["sandbox", "live"]

_HOUR_S: Final = 3600
_DAY_S: Final = 24 * _HOUR_S

# Customers decide within minutes, so most lost webhooks are noticed in the first hour; from then on
# each request is likely to be in vain, and xPay discourages polling. No customer waits a week.
_FIRST_HOURS_S: Final = (60, 120, 300, 900, 1 * _HOUR_S, 3 * _HOUR_S, 12 * _HOUR_S)
RECONCILE_SCHEDULE_S: Final = _FIRST_HOURS_S + 6 * (_DAY_S,)
# Twice after a week, then monthly: half a year in all.
LATE_RECONCILE_SCHEDULE_S: Final = 2 * (7 * _DAY_S,) + 5 * (30 * _DAY_S,)
# The first retries outlast a restart, the later ones an outage, the last one a night without staff.
RETRY_SCHEDULE_S: Final = (5, 30, 120, 600, _HOUR_S, 6 * _HOUR_S, _DAY_S)


def _half(lease_s: object) -> float:
    """Half of the lease, if it is one: a wrong one is named by its own check."""
    return max(0.05, lease_s / 2) if isinstance(lease_s, int | float) else 0.05


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
            checks.one_of(*get_args(Mode)),
        )
    )
    public_key: str = attrs.field(
        repr=False,
        metadata=_about("PUBLIC_KEY", "The public API key of xPay's dashboard.", checks.public_key),
    )
    private_key: str = attrs.field(
        repr=False,
        metadata=_about("PRIVATE_KEY", "The private API key of xPay's dashboard.", checks.key),
    )
    account: str = attrs.field(
        default="",
        metadata=_about(
            "ACCOUNT",
            "A name for your account at xPay; each payment is stored with it and with the mode, "
            "and nothing crosses. By default a fingerprint of the public key.",
            checks.optional_account,
        ),
    )
    earlier_accounts: tuple[str, ...] = attrs.field(
        default=(),
        repr=False,
        metadata=_about(
            "EARLIER_ACCOUNTS",
            "Earlier names of the same account, or its earlier public keys: payments stored under "
            f"them go on. `{UNNAMED_WORD}` stands for those stored before accounts had names.",
            checks.tuple_of(checks.earlier_account, what="names or public keys", empty=True),
            read_words,
        ),
    )
    other_accounts: tuple[str, ...] = attrs.field(
        default=(),
        repr=False,
        metadata=_about(
            "OTHER_ACCOUNTS",
            "Other accounts on the same store, which other processes or flows serve, such as "
            "`sandbox/my-shop`; due work of an account that is named nowhere is an error.",
            checks.tuple_of(checks.other_account, what="accounts", empty=True),
            read_words,
        ),
    )
    webhook_secrets: tuple[str, ...] = attrs.field(
        default=(),
        repr=False,
        metadata=_about(
            "WEBHOOK_SECRETS",
            "The signing keys of the webhook endpoint: the current one, then those being rotated "
            "out. In the environment separated by commas.",
            checks.tuple_of(checks.key, what="signing keys", empty=True),
            read_words,
        ),
    )
    base_url: str = attrs.field(
        default="https://api.xpaycheckout.com",
        metadata=_about("BASE_URL", "Where xPay's API is.", checks.base_url),
    )
    api_hosts: tuple[str, ...] = attrs.field(
        default=(),
        metadata=_about(
            "API_HOSTS",
            "Hosts that keys may be sent to although they are not xPay's, such as a gateway of "
            "your own.",
            checks.tuple_of(checks.api_host, what="hosts", empty=True),
            read_words,
        ),
    )
    checkout_hosts: tuple[str, ...] = attrs.field(
        default=("pay.xpaycheckout.com", ".xpaycheckout.com"),
        metadata=_about(
            "CHECKOUT_HOSTS",
            "The hosts a customer may be sent to; a leading dot admits all hosts below it.",
            checks.tuple_of(checks.checkout_host, what="hosts"),
            read_words,
        ),
    )
    ecdsa_public_keys: tuple[str, ...] = attrs.field(
        default=(),
        metadata=_about(
            "ECDSA_PUBLIC_KEYS",
            "Keys for the second signature, in base64; `xpay` means the key xPay has published.",
            checks.tuple_of(checks.ecdsa_key, what="public keys", empty=True),
            read_words,
        ),
    )
    require_signature: Require = attrs.field(
        default="hmac",
        metadata=_about(
            "REQUIRE_SIGNATURE",
            "Which signature a webhook must carry. `ecdsa` alone proves that an event is from "
            "xPay, not that it is for you.",
            checks.one_of(*get_args(Require)),
        ),
    )
    # "10 requests per second" on the newest page, "60 per minute" on an older one.
    requests_per_minute: int = attrs.field(
        default=600,
        metadata=_about(
            "REQUESTS_PER_MINUTE",
            "How often xPay is called at most by this process. Its limit counts your whole "
            "account: divide it by the number of your processes.",
            checks.whole(1, 600),
            read_int,
        ),
    )
    # "Within about five seconds", and the sixth group of ten requests is still served.
    rush_wait_s: float = attrs.field(
        default=5.5,
        metadata=_about(
            "RUSH_WAIT_S",
            "How long a customer waits for a turn under the rate limit. One who would wait longer "
            "is refused at once with `TooManyRequests`, and nothing is stored.",
            checks.seconds(0, 60),
            read_float,
        ),
    )
    page_check_after_s: int = attrs.field(
        default=120,
        metadata=_about(
            "PAGE_CHECK_AFTER_S",
            "How old a checkout page may be to be handed out again without a query at xPay.",
            checks.whole(0, _DAY_S),
            read_int,
        ),
    )
    connect_timeout_s: float = attrs.field(
        default=2.0,
        metadata=_about(
            "CONNECT_TIMEOUT_S",
            "How long a connection to xPay may take to open.",
            checks.seconds(0.05, 60),
            read_float,
        ),
    )
    read_timeout_s: float = attrs.field(
        default=10.0,
        metadata=_about(
            "READ_TIMEOUT_S",
            "How long xPay may be silent within an answer. A whole exchange, name look-up "
            "included, ends after this and `connect_timeout_s` together.",
            checks.seconds(0.05, 120),
            read_float,
        ),
    )
    create_tries: int = attrs.field(
        default=3,
        metadata=_about(
            "CREATE_TRIES",
            "How often creating a payment is tried, with one idempotency key, while the customer "
            "waits.",
            checks.whole(1, 10),
            read_int,
        ),
    )
    create_budget_s: float = attrs.field(
        default=20.0,
        metadata=_about(
            "CREATE_BUDGET_S",
            "How long all these tries may take together.",
            checks.seconds(0.1, 120),
            read_float,
        ),
    )
    # "2 s to connect and 2 s to read": an answer after that is a failure to xPay.
    webhook_deadline_s: float = attrs.field(
        default=1.5,
        metadata=_about(
            "WEBHOOK_DEADLINE_S",
            "When a webhook that is not stored yet is answered 503; xPay gives up after 2 seconds.",
            checks.seconds(0.05, 1.9),
            read_float,
        ),
    )
    # The parser refuses more; an event is about 500 bytes.
    body_bytes_max: int = attrs.field(
        default=1024 * 1024,
        metadata=_about(
            "BODY_BYTES_MAX",
            "How large a webhook may be.",
            checks.whole(4096, 1024 * 1024),
            read_int,
        ),
    )
    reconcile_schedule_s: tuple[int, ...] = attrs.field(
        default=RECONCILE_SCHEDULE_S,
        metadata=_about(
            "RECONCILE_SCHEDULE_S",
            "The pauses before each question to xPay about a payment that is still open.",
            checks.tuple_of(checks.whole(1, 30 * _DAY_S), what="whole seconds"),
            read_ints,
        ),
    )
    # A page may be paid months later; each question costs one request.
    late_reconcile_schedule_s: tuple[int, ...] = attrs.field(
        default=LATE_RECONCILE_SCHEDULE_S,
        metadata=_about(
            "LATE_RECONCILE_SCHEDULE_S",
            "The pauses before further questions about a payment that was still open when "
            "RECONCILE_SCHEDULE_S ended; empty sends none.",
            checks.tuple_of(checks.whole(1, 30 * _DAY_S), what="whole seconds", empty=True),
            read_ints,
        ),
    )
    quiet_event_types: tuple[str, ...] = attrs.field(
        default=(),
        metadata=_about(
            "QUIET_EVENT_TYPES",
            "Types of events that fit no payment of this flow and are expected, such as "
            "`subscription.cycle_charged`: kept and counted, and `on_unmatched` is not called.",
            checks.tuple_of(checks.event_type, what="types of events", empty=True),
            read_words,
        ),
    )
    reconcile_batch: int = attrs.field(
        default=20,
        metadata=_about(
            "RECONCILE_BATCH",
            "How many open payments one pass of the reconciler queries.",
            checks.whole(1, 1000),
            read_int,
        ),
    )
    retry_schedule_s: tuple[int, ...] = attrs.field(
        default=RETRY_SCHEDULE_S,
        metadata=_about(
            "RETRY_SCHEDULE_S",
            "The pauses before each retry of a handler that failed; then an operator is alerted.",
            checks.tuple_of(checks.whole(1, 30 * _DAY_S), what="whole seconds"),
            read_ints,
        ),
    )
    lease_s: int = attrs.field(
        default=60,
        metadata=_about(
            "LEASE_S",
            "How long a worker owns a job; one that takes longer may be run by another, too.",
            checks.whole(1, _DAY_S),
            read_int,
        ),
    )
    # Half of the lease leaves the other half to record how the call ended.
    handler_timeout_s: float = attrs.field(
        default=attrs.Factory(lambda self: _half(self.lease_s), takes_self=True),
        metadata=_about(
            "HANDLER_TIMEOUT_S",
            "How long a handler may run; then its call counts as failed, and the next one is "
            "made. Shorter than `lease_s`; by default half of it.",
            checks.seconds(0.05, _DAY_S),
            read_float,
        ),
    )
    cut_short_max: int = attrs.field(
        default=3,
        metadata=_about(
            "CUT_SHORT_MAX",
            "How often a handler call may be cut short, by its time limit or the end of its "
            "process, before it is given up and an operator is alerted. A call that takes its "
            "process with it is given up one try earlier.",
            checks.whole(1, 100),
            read_int,
        ),
    )
    # Servers that restart wait 10 to 30 s before they kill.
    close_timeout_s: float = attrs.field(
        default=10.0,
        metadata=_about(
            "CLOSE_TIMEOUT_S",
            "How long the end of a process may take: a handler under way ends, and what the "
            "process itself has recorded is delivered.",
            checks.seconds(0, 600),
            read_float,
        ),
    )
    create_lease_s: int = attrs.field(
        default=30,
        metadata=_about(
            "CREATE_LEASE_S",
            "How long a creation without answer is left to the process that began it.",
            checks.whole(1, _HOUR_S),
            read_int,
        ),
    )
    metadata_key: str = attrs.field(
        default="xpay_flow_intent",
        metadata=_about(
            "METADATA_KEY",
            "Under which name our intent id travels in xPay's metadata. Changing it makes open "
            "payments harder to recognise.",
            checks.metadata_key,
        ),
    )
    currency_decimals: tuple[str, ...] = attrs.field(
        default=(),
        metadata=_about(
            "CURRENCY_DECIMALS",
            "Currencies whose minor unit xPay counts otherwise than ISO 4217, and how many "
            "decimals they have there, such as `ISK:2,UGX:2`; `Settings.money` uses it.",
            checks.tuple_of(checks.currency_decimals, what="codes with decimals", empty=True),
            read_words,
        ),
    )
    # Below the 30 s after which common proxies cut a silent connection.
    status_wait_s_max: float = attrs.field(
        default=25.0,
        metadata=_about(
            "STATUS_WAIT_S_MAX",
            "How long a status query may wait for an event.",
            checks.seconds(0, 120),
            read_float,
        ),
    )
    # Each holds a connection, and a process usually may open 1,024 files: half are left to others.
    status_waiting_max: int = attrs.field(
        default=500,
        metadata=_about(
            "STATUS_WAITING_MAX",
            "How many status queries of one process may wait at once. Others are answered at once, "
            "as the payment stands, with the time after which to ask again.",
            checks.whole(0, 100_000),
            read_int,
        ),
    )
    # A small server has about four threads. At least half of them must be free for xPay's webhook,
    # which is what the waiting queries wait for, and which must be answered within two seconds.
    status_waiting_threads_max: int = attrs.field(
        default=2,
        metadata=_about(
            "STATUS_WAITING_THREADS_MAX",
            "How many of them a `Flow` lets wait, since each holds a thread. At most half of the "
            "threads of your server.",
            checks.whole(0, 10_000),
            read_int,
        ),
    )
    # xPay gives up after 2 s; a customer's request has no body.
    body_timeout_s: float = attrs.field(
        default=5.0,
        metadata=_about(
            "BODY_TIMEOUT_S",
            "How long the body of a request may take to arrive, where the server lets us know.",
            checks.seconds(0.05, 60),
            read_float,
        ),
    )

    def __attrs_post_init__(self) -> None:
        fields = attrs.fields(Settings)
        values = {field.name: getattr(self, field.name) for field in fields}
        raise_if_any(f"{name} {text}" for name, text in problems(values, fields))

    @property
    def allow_loopback_checkout(self) -> bool:
        """Whether a customer may be sent to this machine: only for the local sandbox."""
        return self.mode == "sandbox"

    @cached_property
    def _decimals(self) -> dict[str, int]:
        named = (entry.partition(":") for entry in self.currency_decimals)
        return {code: int(digits) for code, _, digits in named}

    def decimals(self, currency: str) -> int | None:
        """How many decimals a currency has at xPay, where `currency_decimals` names it."""
        return self._decimals.get(currency)

    def money(self, price: Decimal | str, currency: str) -> Money:
        """`Money.of`, with the decimals that `currency_decimals` gives the currency.

        Raises:
            InvalidValue: see `Money.of`.
        """
        return Money.of(price, currency, decimals=self.decimals(currency))

    # Every load needs these.
    @cached_property
    def realm(self) -> str:
        """Mode and account, as each payment is stored with it."""
        return realm_name(self.mode, self.account or fingerprint(self.public_key))

    @cached_property
    def realms(self) -> Realms:
        """The realms whose payments are this account's: its own, and its earlier ones."""
        names = [self.realm]
        for earlier in self.earlier_accounts:
            # A public key may look like a name, so each may be either.
            either = (earlier, fingerprint(earlier))
            named = [realm_name(self.mode, name) for name in either]
            names += [UNNAMED] if earlier == UNNAMED_WORD else named
        return Realms(tuple(dict.fromkeys(names)))

    @cached_property
    def known_realms(self) -> Realms:
        """These, and those that others serve."""
        named = (
            other if "/" in other else realm_name(self.mode, other) for other in self.other_accounts
        )
        return Realms(tuple(dict.fromkeys((*self.realms.names, *named))))

    # Every webhook needs it, and building one encodes each key.
    @cached_property
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
        given: dict[str, Any] = read_environment(
            os.environ if environ is None else environ, prefix, attrs.fields(Settings)
        )
        return cls(**given)
