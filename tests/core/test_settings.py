"""That an operator's mistakes stop the start, all at once, and that no key is ever shown."""

from __future__ import annotations

import random
import string
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from xpay_flow import signing
from xpay_flow.errors import ConfigurationError
from xpay_flow.money import Money
from xpay_flow.settings import RECONCILE_SCHEDULE_S, RETRY_SCHEDULE_S, Settings, store_url
from xpay_flow.settings.guessable import is_guessable

PUBLIC, PRIVATE = "pk_4f9a1c77e2b0", "sk_8d21b6f05e9c"
SECRETS = ("whs_0c5d9e31a7f2b846", "whs_f7e6d5c4b3a29180")
LIVE: dict[str, Any] = {
    "mode": "live",
    "public_key": PUBLIC,
    "private_key": PRIVATE,
    "webhook_secrets": SECRETS,
}
ENVIRON = {
    "XPAY_MODE": "live",
    "XPAY_PUBLIC_KEY": PUBLIC,
    "XPAY_PRIVATE_KEY": PRIVATE,
    "XPAY_WEBHOOK_SECRETS": ", ".join(SECRETS),
}


def problems(**changes: Any) -> list[str]:
    """The sentences of the one error that live settings with `changes` raise."""
    with pytest.raises(ConfigurationError) as caught:
        Settings(**(LIVE | changes))
    return str(caught.value).splitlines()[1:]


def env_problems(environ: dict[str, str], **options: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_env(environ, **options)
    return str(caught.value).splitlines()[1:]


# --- what is accepted ----------------------------------------------------------------------------


def test_defaults() -> None:
    """Keys and mode are enough; everything else has a careful default."""
    settings = Settings(**LIVE)
    assert "https://api.xpaycheckout.com" == settings.base_url
    assert ("pay.xpaycheckout.com", ".xpaycheckout.com") == settings.checkout_hosts
    assert ("hmac", ()) == (settings.require_signature, settings.ecdsa_public_keys)
    assert (600, 3, 20) == (
        settings.requests_per_minute,
        settings.create_tries,
        settings.reconcile_batch,
    )
    assert settings.webhook_deadline_s < 2
    assert settings.create_budget_s < settings.create_lease_s
    assert not settings.allow_loopback_checkout


def test_schedules() -> None:
    """Questions and retries become rarer, and questions end within a week."""
    for schedule in (RECONCILE_SCHEDULE_S, RETRY_SCHEDULE_S):
        assert sorted(schedule) == list(schedule)
    assert 6 * 86400 < sum(RECONCILE_SCHEDULE_S) <= 7 * 86400
    assert (60, 120, 300, 900, 3600, 10800, 43200, 86400) == RECONCILE_SCHEDULE_S[:8]
    assert (5, 30, 120, 600, 3600, 21600, 86400) == RETRY_SCHEDULE_S


def test_sandbox() -> None:
    """The sandbox's settings are ready, send customers to this machine, and can be changed."""
    settings = Settings.sandbox()
    assert ("sandbox", "http://127.0.0.1:4010") == (settings.mode, settings.base_url)
    assert ("sandbox_signing_key_0123456789",) == settings.webhook_secrets
    assert settings.allow_loopback_checkout
    assert 5 == Settings.sandbox(reconcile_batch=5).reconcile_batch
    assert "http://[::1]:9" == Settings.sandbox(base_url="http://[::1]:9").base_url


def test_signature_policy() -> None:
    """The policy for webhooks is the operator's, with the published key under its short name."""
    settings = Settings(**LIVE, ecdsa_public_keys=("xpay",), require_signature="both")
    expected = signing.SignaturePolicy(
        hmac_secrets=SECRETS, ecdsa_public_keys=("xpay",), require="both"
    )
    assert expected == settings.signature_policy


def test_the_signature_policy_is_built_once() -> None:
    """Every webhook is checked by the same policy, and changed settings have one of their own."""
    settings = Settings(**LIVE)
    policy = settings.signature_policy
    assert policy is settings.signature_policy
    changed = attrs.evolve(settings, webhook_secrets=(SECRETS[1],))
    assert (SECRETS[1],) == changed.signature_policy.hmac_secrets
    assert SECRETS == settings.signature_policy.hmac_secrets
    assert Settings(**LIVE) == settings


def test_ecdsa_alone_needs_no_secret() -> None:
    """Signing keys may be left out explicitly."""
    keys = (signing.XPAY_ECDSA_PUBLIC_KEY,)
    changes = {"webhook_secrets": (), "ecdsa_public_keys": keys, "require_signature": "ecdsa"}
    assert () == Settings(**(LIVE | changes)).webhook_secrets


def test_settings_are_frozen() -> None:
    """Settings are a value: they do not change, and a changed copy is checked again."""
    settings = Settings(**LIVE)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        settings.mode = "sandbox"  # type: ignore[misc]
    with pytest.raises(ConfigurationError, match="reconcile_batch"):
        attrs.evolve(settings, reconcile_batch=0)


# --- what is refused -----------------------------------------------------------------------------

WEAK_KEYS = ["", " ", "\t\n", "short", "1234567", "changeme", "ChangeMe", "password", "signing_key"]
WEAK_KEYS += ["test_signing_key", "your_private_key", "xxxxxxxxxxxxxxxx", "sk_8d21 b6f05e9c"]
WEAK_KEYS += ["sk_8d21b6f05e9c\n", "\x00" * 20]


@pytest.mark.parametrize("key", [*WEAK_KEYS, None, b"sk_8d21b6f05e9c", 12345678])
def test_weak_keys(key: object) -> None:
    """Empty, blank, short, uniform and well-known keys refuse to start, in either mode."""
    for mode in ("live", "sandbox"):
        assert problems(mode=mode, private_key=key)[0].startswith("private_key ")
        assert problems(mode=mode, public_key=key)[0].startswith("public_key ")
        found = problems(mode=mode, webhook_secrets=(SECRETS[0], key))
        assert found[0].startswith("webhook_secrets number 2 ")


def test_short_secrets() -> None:
    """In live mode a signing key has at least sixteen characters."""
    assert [
        "webhook_secrets has one that is too short: live mode needs at least 16 characters"
    ] == (problems(webhook_secrets=("whs_0c5d9e31a7f",)))
    assert Settings(**(LIVE | {"webhook_secrets": ("whs_0c5d9e31a7f2",)}))
    assert Settings(**(LIVE | {"mode": "sandbox", "webhook_secrets": ("whs_0c5d",)}))


@pytest.mark.parametrize(
    "changes",
    [
        {"public_key": "sandbox_public_key"},
        {"private_key": "sandbox_private_key"},
        {"webhook_secrets": (SECRETS[0], "sandbox_signing_key_0123456789")},
    ],
)
def test_sandbox_keys_are_not_live(changes: dict[str, Any]) -> None:
    """The sandbox's keys, which everybody knows, are refused in live mode only."""
    (name,) = changes
    (found,) = problems(**changes)
    assert found.startswith(f"{name} ")
    assert "sandbox" in found
    assert Settings(**(LIVE | {"mode": "sandbox"} | changes))


@pytest.mark.parametrize(
    "url",
    [
        "http://api.xpaycheckout.com",
        "https://localhost",
        "https://localhost:4010",
        "https://api.localhost",
        "https://xpay.internal",
        "https://xpay",
        "https://127.0.0.1",
        "https://127.1",
        "https://2130706433",
        "https://0x7f.1",
        "https://0.0.0.0",
        "https://10.1.2.3",
        "https://192.168.0.7:8443",
        "https://172.16.0.1",
        "https://169.254.169.254",
        "https://[::1]",
        "https://[fd00::1]",
        "https://[::ffff:127.0.0.1]",
        "https://LOCALHOST",
        "https://localhost.",
    ],
)
def test_live_base_url(url: str) -> None:
    """Live mode calls no plain http and nothing near."""
    assert ["base_url"] == [found.split(" ")[0] for found in problems(base_url=url)]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example",
        "https://api.xpaycheckout.com.evil.example",
        "https://evilxpaycheckout.com",
        "https://127.0.0.1.nip.io",
        "https://localtest.me",
    ],
)
def test_keys_go_to_no_strange_host(url: str) -> None:
    """Keys of either mode go to xPay only, unless a setting names another host."""
    for mode in ("live", "sandbox"):
        (found,) = problems(mode=mode, base_url=url)
        assert found.startswith("base_url ")
        assert "api_hosts" in found
        host = urlsplit(url).hostname
        assert url == Settings(**LIVE | {"mode": mode}, base_url=url, api_hosts=(host,)).base_url


def test_test_keys_go_over_plain_http_to_this_machine_or_nearby_only() -> None:
    """In sandbox mode, too, what leaves the private network is encrypted."""
    for url in ("http://127.0.0.1:4010", "http://192.168.1.5:4010", "http://sandbox:4010"):
        assert url == Settings.sandbox(base_url=url).base_url
    for url in ("http://api.xpaycheckout.com", "http://evil.example", "http://8.8.8.8"):
        (found,) = problems(mode="sandbox", base_url=url)
        assert found.startswith("base_url must begin with https://"), url
    assert Settings.sandbox(base_url="https://api.xpaycheckout.com")


def test_live_base_url_may_be_elsewhere() -> None:
    """A host of xPay's, or one of one's own choice, with a port and a path, is accepted."""
    url = "https://api.test.xpaycheckout.com"
    assert url == Settings(**LIVE, base_url=url).base_url
    for host in ("egress.shop.example", "xpay.internal", "10.0.0.7"):
        url = f"https://{host}:8443/xpay"
        assert url == Settings(**LIVE, base_url=url, api_hosts=(host,)).base_url
        assert problems(base_url=url.replace("https", "http"), api_hosts=(host,))


GUESSABLE = ["changeme1234567890", "passwordpassword", "aaaabbbbccccdddd", "1234567890123456"]
GUESSABLE += [
    "your_webhook_secret_here",
    "qwertyuiopasdfgh",
    "abcdabcdabcdabcd",
    "fedcba9876543210",
]
GUESSABLE += [
    "Test_Signing_Key_123456",
    "deadbeefdeadbeef",
    "1q2w3e4r1q2w3e4r",
    "my-live-secret-key",
]


@pytest.mark.parametrize("key", GUESSABLE)
def test_live_mode_refuses_keys_that_are_easy_to_guess(key: str) -> None:
    """Words of forms, runs and repetitions make no key, however long they are."""
    assert ["webhook_secrets has one that is easy to guess"] == [
        found.partition(":")[0] for found in problems(webhook_secrets=(SECRETS[0], key))
    ]
    assert ["private_key is easy to guess"] == [
        found.partition(":")[0] for found in problems(private_key=key)
    ]
    assert Settings(**(LIVE | {"mode": "sandbox", "webhook_secrets": (key,)}))


def test_random_keys_are_accepted() -> None:
    """Of ten thousand keys made by chance none is refused."""
    dice = random.Random(7)
    alphabets = (string.ascii_letters + string.digits, string.hexdigits.lower(), string.digits)
    for number in range(10_000):
        key = "".join(dice.choices(alphabets[number % 3], k=16 + number % 20))
        assert not is_guessable(key), key


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        (
            {"webhook_secrets": ("sk_8d21b6f05e9cab37",), "private_key": "sk_8d21b6f05e9cab37"},
            "webhook_secrets",
        ),
        (
            {"webhook_secrets": ("pk_4f9a1c77e2b0ab37",), "public_key": "pk_4f9a1c77e2b0ab37"},
            "webhook_secrets",
        ),
        ({"public_key": PRIVATE}, "private_key"),
    ],
)
def test_one_key_in_two_places_is_refused_in_live_mode(changes: dict[str, Any], name: str) -> None:
    """The private key that signs webhooks too is a key in the wrong place."""
    (found,) = problems(**changes)
    assert found.startswith(f"{name} ")


def test_a_key_has_ascii_characters_only() -> None:
    """A letter of another alphabet that looks like one of ours is found."""
    assert "not ASCII" in problems(private_key="sk_8d21b6f05\u0435c9")[0]


BAD: dict[str, list[object]] = {
    "mode": ["", "prod", "LIVE", None, 1],
    "public_key": ["pk_4f9a:sk_8d21b6"],
    "webhook_secrets": ["whs_0c5d9e31a7f2b846", [SECRETS[0]], None],
    "base_url": [
        "",
        "api.xpaycheckout.com",
        "ftp://api.xpaycheckout.com",
        "https://",
        "https://user:pw@api.xpaycheckout.com",
        "https://api.xpaycheckout.com/",
        "https://api.xpaycheckout.com?",
        "https://api.xpaycheckout.com?a=b",
        "https://api.xpaycheckout.com#x",
        "https://api.xpaycheckout.com:99999",
        "https://[::1",
        "https://api.xpaycheckout.com/..",
        "https://api.xpaycheckout.com/./v1",
        "https://api.xpay checkout.com",
        "https://api.xpaycheckout。com",
        None,
    ],
    "account": ["a" * 21, "my shop", "live/shop", "-shop", "Läden", PRIVATE, None],
    "earlier_accounts": ["old", ("",), ("a b",), (PRIVATE,), None],
    "other_accounts": ["old", ("",), ("test/old",), ("live/",), (SECRETS[0],), None],
    "api_hosts": ["gateway.example", ("",), ("https://gateway.example",), ("Gateway",), None],
    "checkout_hosts": [
        (),
        "pay.xpaycheckout.com",
        *((host,) for host in ("", ".", ".com", "*.xpaycheckout.com", "Pay.xpaycheckout.com")),
        *((host,) for host in ("https://pay.xpaycheckout.com", "a..b", "a.b.", "a:443", "ä.com")),
    ],
    "ecdsa_public_keys": ["xpay", ("",), ("XPAY",), ("A" * 124,), (None,)],
    "require_signature": ["none", "", "HMAC", None],
    "requests_per_minute": [0, -1, 601, 60.0, "60", True, None],
    "connect_timeout_s": [0, -1.0, float("nan"), float("inf"), "2", True],
    "read_timeout_s": [0, 1000, float("nan")],
    "create_tries": [0, 11, 1.5],
    "create_budget_s": [0, float("inf")],
    "webhook_deadline_s": [0, 2, 2.0, 5],
    "body_bytes_max": [0, 1024 * 1024 + 1],
    "late_reconcile_schedule_s": [60, [60], (60, 0), (60, "120"), (31 * 86400,)],
    "quiet_event_types": ["a", ["a"], ("",), ("a b",), ("A",), (7,), ("é",)],
    "reconcile_schedule_s": [(), 60, [60], (60, 0), (60, "120"), (60, 1.5), (True,)],
    "reconcile_batch": [0, 1001],
    "retry_schedule_s": [(), (5, -1)],
    "lease_s": [0, 86401],
    "handler_timeout_s": [0, 86401, 60],
    "cut_short_max": [0, 101],
    "close_timeout_s": [-1, 601],
    "create_lease_s": [0, 20, 3601],
    "metadata_key": ["", "x" * 41, "a b", "ä", "a\n", None],
    "status_wait_s_max": [-1, 121, float("nan")],
    "status_waiting_max": [-1, 1.5, 100_001],
    "status_waiting_threads_max": [-1, "2", 10_001],
    "body_timeout_s": [0, 61, float("nan")],
    "rush_wait_s": [-1, 61, "5"],
    "page_check_after_s": [-1, 86_401, 1.5],
    "currency_decimals": ["ISK:2", ("ISK",), ("XXX:2",), (None,)],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_bad_values(name: str, value: object) -> None:
    """A value that cannot be meant is refused, in one sentence that begins with its name."""
    found = problems(**{name: value})
    assert [name] == [sentence.split(" ")[0] for sentence in found]


def test_every_setting_has_a_bad_value() -> None:
    """No setting is left unchecked: the table above names them all."""
    names = {field.name for field in attrs.fields(Settings)}
    assert names == set(BAD) | {"private_key"}


@pytest.mark.parametrize(
    ("name", "require", "keys"),
    [
        ("webhook_secrets", "hmac", ()),
        ("webhook_secrets", "both", ("xpay",)),
        ("ecdsa_public_keys", "ecdsa", ()),
    ],
)
def test_required_signatures_need_keys(name: str, require: str, keys: tuple[str, ...]) -> None:
    """A signature that is required has a key to check it by."""
    secrets = () if name == "webhook_secrets" else SECRETS
    found = problems(webhook_secrets=secrets, ecdsa_public_keys=keys, require_signature=require)
    assert [name] == [sentence.split(" ")[0] for sentence in found]
    assert repr(require) in found[0]


def test_all_problems_at_once() -> None:
    """Several mistakes are reported in one error, one line each."""
    found = problems(mode="prod", private_key="changeme", reconcile_batch=0, create_lease_s=1)
    expected = ["mode", "private_key", "reconcile_batch", "create_lease_s"]
    assert expected == [sentence.split(" ")[0] for sentence in found]


# --- no key is shown -----------------------------------------------------------------------------


def test_repr_shows_no_key() -> None:
    """No key is in the repr, nested or not, nor in that of the policy."""
    settings = Settings(**LIVE)
    for text in (repr(settings), str(settings), f"{[{'x': (settings,)}]}"):
        assert "api.xpaycheckout.com" in text
        for key in (PUBLIC, PRIVATE, *SECRETS):
            assert key not in text
    assert SECRETS[0] not in repr([settings.signature_policy])


def test_no_key_in_any_error() -> None:
    """An error quotes no value, so that a key in the wrong place stays unseen."""
    for field in attrs.fields(Settings):
        for value in (PRIVATE + " ", (PRIVATE + " ",)):
            assert PRIVATE not in "".join(problems(**{field.name: value}))
        if field.name not in ("public_key", "private_key"):
            name = str(field.metadata["env"])
            bad = PRIVATE + " ," + PRIVATE + "\n"
            assert PRIVATE not in "".join(env_problems(ENVIRON | {name: bad}))


# --- environment ---------------------------------------------------------------------------------


def test_from_env() -> None:
    """Each setting is read from its variable, with the right type."""
    environ = ENVIRON | {
        "XPAY_BASE_URL": "https://api.test.xpaycheckout.com",
        "XPAY_ACCOUNT": "my-shop",
        "XPAY_EARLIER_ACCOUNTS": "shop, unnamed",
        "XPAY_OTHER_ACCOUNTS": "sandbox/my-shop,outlet",
        "XPAY_API_HOSTS": "gateway.shop.example",
        "XPAY_CHECKOUT_HOSTS": "pay.shop.example, .xpaycheckout.com",
        "XPAY_ECDSA_PUBLIC_KEYS": "xpay",
        "XPAY_REQUIRE_SIGNATURE": "both",
        "XPAY_REQUESTS_PER_MINUTE": "120",
        "XPAY_CONNECT_TIMEOUT_S": "1.5",
        "XPAY_READ_TIMEOUT_S": "5",
        "XPAY_CREATE_TRIES": "2",
        "XPAY_CREATE_BUDGET_S": "8",
        "XPAY_WEBHOOK_DEADLINE_S": "1",
        "XPAY_BODY_BYTES_MAX": "65536",
        "XPAY_RECONCILE_SCHEDULE_S": "60,600, 3600",
        "XPAY_LATE_RECONCILE_SCHEDULE_S": "86400",
        "XPAY_QUIET_EVENT_TYPES": "subscription.unpaid, link.paid",
        "XPAY_RECONCILE_BATCH": "7",
        "XPAY_RETRY_SCHEDULE_S": "1",
        "XPAY_LEASE_S": "90",
        "XPAY_CLOSE_TIMEOUT_S": "4",
        "XPAY_HANDLER_TIMEOUT_S": "20",
        "XPAY_CUT_SHORT_MAX": "5",
        "XPAY_CREATE_LEASE_S": "9",
        "XPAY_METADATA_KEY": "our_intent",
        "XPAY_STATUS_WAIT_S_MAX": "0",
        "XPAY_STATUS_WAITING_MAX": "200",
        "XPAY_STATUS_WAITING_THREADS_MAX": "4",
        "XPAY_BODY_TIMEOUT_S": "3",
        "XPAY_CURRENCY_DECIMALS": "ISK:2,UGX:0",
        "XPAY_RUSH_WAIT_S": "4",
        "XPAY_PAGE_CHECK_AFTER_S": "0",
    }
    expected = Settings(
        **LIVE,
        base_url="https://api.test.xpaycheckout.com",
        account="my-shop",
        earlier_accounts=("shop", "unnamed"),
        other_accounts=("sandbox/my-shop", "outlet"),
        api_hosts=("gateway.shop.example",),
        checkout_hosts=("pay.shop.example", ".xpaycheckout.com"),
        ecdsa_public_keys=("xpay",),
        require_signature="both",
        requests_per_minute=120,
        connect_timeout_s=1.5,
        read_timeout_s=5.0,
        create_tries=2,
        create_budget_s=8.0,
        webhook_deadline_s=1.0,
        body_bytes_max=65536,
        reconcile_schedule_s=(60, 600, 3600),
        late_reconcile_schedule_s=(86400,),
        quiet_event_types=("subscription.unpaid", "link.paid"),
        reconcile_batch=7,
        retry_schedule_s=(1,),
        lease_s=90,
        close_timeout_s=4.0,
        handler_timeout_s=20.0,
        cut_short_max=5,
        create_lease_s=9,
        metadata_key="our_intent",
        status_wait_s_max=0.0,
        status_waiting_max=200,
        status_waiting_threads_max=4,
        body_timeout_s=3.0,
        currency_decimals=("ISK:2", "UGX:0"),
        rush_wait_s=4.0,
        page_check_after_s=0,
    )
    assert expected == Settings.from_env(environ)
    assert set(environ) == {field.metadata["env"] for field in attrs.fields(Settings)}


def test_from_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the variables of the process are read, under the given prefix."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name.replace("XPAY_", "SHOP_PAY_"), value)
    assert Settings(**LIVE) == Settings.from_env(prefix="SHOP_PAY_")


def test_variables_that_are_read_elsewhere_are_no_typing_errors() -> None:
    """`XPAY_STORE` and the local xPay's keys are no settings, and from_env does not refuse them."""
    elsewhere = ("XPAY_STORE", "XPAY_SANDBOX_PRIVATE_KEY", "XPAY_SANDBOX_SIGNING_KEY")
    assert Settings(**LIVE) == Settings.from_env(ENVIRON | dict.fromkeys(elsewhere, "x"))


def test_store_url_is_read_from_xpay_store() -> None:
    """store_url() is the value of XPAY_STORE; the error for a missing one names the variable."""
    assert "sqlite:///a.db" == store_url({"XPAY_STORE": "sqlite:///a.db"})
    for environ in ({}, {"XPAY_STORE": ""}):
        with pytest.raises(ConfigurationError, match="set XPAY_STORE to its URL"):
            store_url(environ)


def test_nothing_set() -> None:
    """In an empty environment, one error lists every variable that is missing."""
    found = env_problems({"PATH": "/bin", "HOME": "/"})
    expected = ["XPAY_MODE", "XPAY_PUBLIC_KEY", "XPAY_PRIVATE_KEY", "XPAY_WEBHOOK_SECRETS"]
    assert expected == [sentence.split(" ")[0] for sentence in found]
    assert "is missing: The private API key of xPay's dashboard." in found[2]


def test_all_variables_at_once() -> None:
    """Missing, wrong and unknown variables are reported in one error, under their own names."""
    environ = ENVIRON | {"XPAY_MODE": "", "XPAY_RECONCILE_BATCH": "many", "XPAY_BASEURL": "x"}
    environ |= {"XPAY_CREATE_LEASE_S": "5", "XPAY_PRIVATE_KEY": "changeme", "XPAY_": "?"}
    found = env_problems(environ)
    expected = {"XPAY_MODE", "XPAY_RECONCILE_BATCH", "XPAY_CREATE_LEASE_S", "XPAY_PRIVATE_KEY"}
    assert expected | {"'XPAY_BASEURL'", "'XPAY_'"} == {text.split(" ")[0] for text in found}
    assert "'XPAY_BASEURL' is not a setting: did you mean XPAY_BASE_URL?" in found


def test_typing_errors_under_another_prefix() -> None:
    """The closest known name is suggested with its prefix; other prefixes are left alone."""
    environ = {name.replace("XPAY_", "P_"): value for name, value in ENVIRON.items()}
    found = env_problems(environ | {"P_PRIVAT_KEY": "x", "XPAY_NONSENSE": "x"}, prefix="P_")
    assert ["'P_PRIVAT_KEY' is not a setting: did you mean P_PRIVATE_KEY?"] == found


def test_empty_variables_are_not_set() -> None:
    """An empty variable means the default."""
    assert Settings(**LIVE) == Settings.from_env(
        ENVIRON | {"XPAY_BASE_URL": "", "XPAY_LEASE_S": ""}
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *[
            ("XPAY_RECONCILE_BATCH", text)
            for text in (" 5", "5.0", "+5", "1_0", "٥", "9" * 5000, "x")
        ],
        *[("XPAY_READ_TIMEOUT_S", text) for text in ("nan", "inf", "1e1", "-1", "1,5", "9" * 400)],
        *[("XPAY_RECONCILE_SCHEDULE_S", text) for text in ("60,", ",", "60;120", "60 120")],
        *[("XPAY_WEBHOOK_SECRETS", text) for text in (f"{SECRETS[0]},", ",", " ")],
        *[("XPAY_CHECKOUT_HOSTS", text) for text in ("a.example,,b.example", ",")],
    ],
)
def test_bad_variables(name: str, text: str) -> None:
    """A number or list that is not plainly one is refused under its variable's name."""
    assert [name] == [sentence.split(" ")[0] for sentence in env_problems(ENVIRON | {name: text})]


@hypothesis_settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([str(field.metadata["env"]) for field in attrs.fields(Settings)]),
        st.text(max_size=30),
        max_size=4,
    )
)
def test_any_environment(changes: dict[str, str]) -> None:
    """Any text in any variable gives settings or the one error, and never shows a key."""
    try:
        shown = repr(Settings.from_env(ENVIRON | changes))
    except ConfigurationError as error:
        shown = str(error)
    for key in (PRIVATE, *SECRETS):
        assert key not in shown


# --- settings as data ----------------------------------------------------------------------------


def test_each_setting_explains_itself() -> None:
    """Each setting has a sentence of help and a variable derived from its name."""
    for field in attrs.fields(Settings):
        assert "XPAY_" + field.name.upper() == field.metadata["env"]
        assert field.metadata["help"].endswith(".")


def test_settings_need_no_extra() -> None:
    """Settings without ECDSA keys import no cryptography package and no HTTP client."""
    program = (
        "import sys; from xpay_flow.settings import Settings; Settings.sandbox();"
        "sys.exit(bool({'cryptography', 'httpx', 'asyncio'} & set(sys.modules)))"
    )
    root = Path(signing.__file__).parents[1]
    assert (
        0
        == subprocess.run(
            [sys.executable, "-c", program], cwd=root, check=False, timeout=120
        ).returncode
    )


def test_settings_money_counts_a_currency_as_currency_decimals_says() -> None:
    """`Settings.money` makes minor units as xPay counts them, and as ISO 4217 has it otherwise."""
    settings = Settings.sandbox(currency_decimals=("ISK:2",))
    assert Money(50_000, "ISK") == settings.money("500", "ISK")
    assert Money(500, "UGX") == settings.money("500", "UGX")
    assert "500.00 ISK" == str(settings.money("500", "ISK"))


@pytest.mark.parametrize(
    "entry", ["ISK", "ISK:", "ISK:7", "isk:2", "XXX:2", ":2", "ISK:-1", "ISK:٢"]
)
def test_currency_decimals_refuses_what_is_no_code_with_decimals(entry: str) -> None:
    """A wrong entry stops the start, in words."""
    with pytest.raises(ConfigurationError, match="ISK:2"):
        Settings.sandbox(currency_decimals=(entry,))
