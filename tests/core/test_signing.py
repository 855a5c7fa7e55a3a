"""That a signature proves what it should, and nothing else passes for one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from xpay_flow import signing
from xpay_flow.errors import ConfigurationError, MissingExtra, UntrustedMessage
from xpay_flow.signing import Authenticity, Headers, SignaturePolicy, authenticate

# Made with two other implementations, not with the code under test.
KEY = "test_signing_key"
V1_BODY = (
    b'{"eventId":"whe_0000000000000001","eventType":"intent.success","eventTime":1760000000000,'
    b'"intentId":"in_0000000000000001","receiptId":"order-1001","status":"SUCCESS","amount":2500,'
    b'"currency":"USD","paymentMethod":"CARD","metadata":{"orderId":"1001"}}'
)
V1 = "4hLW8243OjWcHi+zf/6RKeC9dKx7VAmlXjUQv8i4M5xA8tzbvzD6x8yN13y3QiQQq8ut1AzkwDXfHWG6QXAqcw=="
V1_SPACED = (
    "i6JfKxo+QbP9b9hgDo341gRAoV4hJ2GeH1ADglvMMtjq3cLuOwIuiRYwS68O+Xxp+aYEfSi0LFpbSt15H2cdnw=="
)
V2_BODY = (
    '{"eventId":"whe_0000000000000002","eventType":"intent.created","eventTime":1760000000001,'
    '"intentId":"in_0000000000000002","status":"CREATED","amount":1999,"currency":"EUR",'
    '"metadata":{"note":"Zoë – ₹"}}'
).encode()
V2 = "wMCEjKiAGoIGYp3Bz6Klb8JEYffZrBLCpRvqZBg8aJFl0LAC8H10y3E2pnEJnrd10MpjSpOk+OPCaRmsTFqf2Q=="
V3_PUBLIC = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEkSpKJiqNm9ykTBXgAfeRYikX7qilRlfeSzIa68ZtRms6uZ1wqpaB3ClA"
    "V2/srGxi9MEYqfdPMN6DVcmnNf8/5w=="
)
V3 = (
    "MEUCIQCMM1378imMJkf2JvsN33d+WepVA/z2ppcETJmqK7X05wIga8LAdnaLK+PseWWD2Z/ye3dAaRN89tuKmgs5LxuL"
    "uko="
)
V3_RAW = "jDNd+/IpjCZH9ib7Dd93flnqVQP89qaXBEyZqiu19OdrwsB2dosr4+x5ZYPZn/J7d0BpE3z224qaCzkvG4u6Sg=="

HMAC, ECDSA = "xpay-signature", "xpay-private-signature"
HMAC_ONLY = SignaturePolicy(hmac_secrets=(KEY,))
EITHER = SignaturePolicy(hmac_secrets=(KEY,), ecdsa_public_keys=(V3_PUBLIC,))
ECDSA_ONLY = SignaturePolicy(ecdsa_public_keys=(V3_PUBLIC,), require="ecdsa")
BOTH = attrs.evolve(EITHER, require="both")


def reason_of(headers: Headers, body: bytes = V1_BODY, policy: SignaturePolicy = HMAC_ONLY) -> str:
    with pytest.raises(UntrustedMessage) as caught:
        authenticate(headers, body, policy)
    assert caught.value.reason in signing.REASONS
    return caught.value.reason


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


# --- vectors ---


def test_vectors_are_as_published() -> None:
    """The bodies of the vectors are the ones that were signed."""
    assert (250, 207) == (len(V1_BODY), len(V2_BODY))
    digest = "35fd8bf965cc5592246ec9d3d3f9bafe462e5e459ce284f8c6f9ebc55e310131"
    assert digest == hashlib.sha256(V1_BODY).hexdigest()


@pytest.mark.parametrize(("body", "signature"), [(V1_BODY, V1), (V2_BODY, V2)])
def test_hmac_vectors(body: bytes, signature: str) -> None:
    """The HMAC of the raw bytes verifies, ASCII or not."""
    expected = Authenticity(hmac=True, ecdsa=False, key_index=0)
    assert expected == authenticate({HMAC: signature}, body, HMAC_ONLY)


def test_ecdsa_vector() -> None:
    """A DER signature verifies under its public key."""
    expected = Authenticity(hmac=False, ecdsa=True, key_index=None)
    assert expected == authenticate({ECDSA: V3}, V1_BODY, ECDSA_ONLY)


def test_both_signatures() -> None:
    """Where both are there and both have keys, both are proved."""
    expected = Authenticity(hmac=True, ecdsa=True, key_index=0)
    for policy in (EITHER, BOTH):
        assert expected == authenticate({HMAC: V1, ECDSA: V3}, V1_BODY, policy)


def test_reserialised_body() -> None:
    """The same JSON written in another way is another body, with another signature."""
    spaced = json.dumps(json.loads(V1_BODY)).encode()
    assert 270 == len(spaced)
    assert "signature-mismatch" == reason_of({HMAC: V1}, spaced)
    assert authenticate({HMAC: V1_SPACED}, spaced, HMAC_ONLY).hmac


def test_published_key() -> None:
    """The word "xpay" stands for the key that xPay has published, which is a P-256 key."""
    named = SignaturePolicy(ecdsa_public_keys=("xpay",), require="ecdsa")
    spelt = attrs.evolve(named, ecdsa_public_keys=(signing.XPAY_ECDSA_PUBLIC_KEY,))
    for policy in (named, spelt):
        assert "signature-mismatch" == reason_of({ECDSA: V3}, policy=policy)


# --- what is refused ---

MAC = base64.b64decode(V1)
DER = base64.b64decode(V3)


@pytest.mark.parametrize(
    ("reason", "header"),
    [
        ("signature-missing", ""),
        ("signature-missing", " \t"),
        ("signature-mismatch", V2),
        ("signature-mismatch", encoded(bytes(64))),
        ("signature-malformed", V1[:-1]),
        ("signature-malformed", V1[:-2]),
        ("signature-malformed", V1[:-4]),
        ("signature-malformed", V1 + "="),
        ("signature-malformed", V1 + V1),
        ("signature-malformed", "=" * 88),
        ("signature-malformed", encoded(MAC[:-1])),
        ("signature-malformed", encoded(MAC[:32])),
        ("signature-malformed", encoded(MAC + b"\0")),
        ("signature-malformed", V1.replace("+", "-").replace("/", "_")),
        ("signature-malformed", V1.replace("cw==", "cx==")),
        ("signature-malformed", MAC.hex()),
        ("signature-malformed", f"sha512={V1}"),
        ("signature-malformed", V1[:44] + " " + V1[44:]),
        ("signature-malformed", V1[:44] + "\n" + V1[44:]),
        ("signature-malformed", V1[:-3] + "ｗ=="),
        ("signature-malformed", "\xff" * 88),
        ("signature-malformed", "\ud800" * 88),
        ("signature-malformed", "\x00" * 88),
        ("signature-malformed", "A" * 100_000),
        ("signature-malformed", f"{V1},{V2}"),
        ("signature-malformed", f"{V1},"),
        ("signature-foreign-format", "t=1760000000,v1=" + "0" * 64),
        ("signature-foreign-format", "v1=" + "0" * 64 + ", t=1760000000"),
    ],
)
def test_bad_hmac_headers(reason: str, header: str) -> None:
    """A header that is not the one HMAC of the body, spelt in the one way, is refused."""
    assert reason == reason_of({HMAC: header})


@pytest.mark.parametrize(
    ("reason", "header"),
    [
        ("signature-missing", ""),
        ("signature-malformed", V3_RAW),
        ("signature-malformed", V3[:-4]),
        ("signature-malformed", encoded(DER + b"\0")),
        ("signature-malformed", encoded(DER[:-1])),
        ("signature-malformed", encoded(b"\x30\x80" + DER[2:] + b"\0\0")),
        ("signature-malformed", DER.hex()),
        ("signature-malformed", V1),
        ("signature-malformed", "é"),
        ("signature-mismatch", encoded(bytes.fromhex("3006020100020100"))),
        ("signature-mismatch", encoded(bytes.fromhex("3006020101020101"))),
        ("signature-foreign-format", "t=1,v1=00"),
    ],
)
def test_bad_ecdsa_headers(reason: str, header: str) -> None:
    """Only a DER signature of the body passes, even beside a good HMAC."""
    assert reason == reason_of({ECDSA: header}, policy=ECDSA_ONLY)
    assert reason == reason_of({HMAC: V1, ECDSA: header}, policy=EITHER)


def test_wrong_keys() -> None:
    """A signature made under another key is refused, and so is one for another body."""
    other = SignaturePolicy(hmac_secrets=(KEY + "x", KEY.upper()))
    assert "signature-mismatch" == reason_of({HMAC: V1}, policy=other)
    assert "signature-mismatch" == reason_of({HMAC: V1}, V1_BODY + b"\n")
    assert "signature-mismatch" == reason_of({HMAC: V1}, b"")
    assert "signature-mismatch" == reason_of({ECDSA: V3}, V2_BODY, ECDSA_ONLY)


@settings(deadline=None)
@given(st.integers(0, 8 * len(V1_BODY) - 1))
def test_every_bit_of_the_body_counts(bit: int) -> None:
    """One flipped bit of the body makes both signatures wrong."""
    flipped = bytearray(V1_BODY)
    flipped[bit // 8] ^= 1 << bit % 8
    assert "signature-mismatch" == reason_of({HMAC: V1}, bytes(flipped))
    assert "signature-mismatch" == reason_of({ECDSA: V3}, bytes(flipped), ECDSA_ONLY)


@settings(deadline=None)
@given(st.sampled_from([(HMAC, V1, HMAC_ONLY), (ECDSA, V3, ECDSA_ONLY)]), st.data())
def test_every_bit_of_the_header_counts(
    case: tuple[str, str, SignaturePolicy], data: st.DataObject
) -> None:
    """One flipped bit of the header makes it malformed or wrong, never right or a crash."""
    name, signature, policy = case
    flipped = bytearray(signature.encode())
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    reason = reason_of({name: flipped.decode("latin-1")}, policy=policy)
    assert reason in ("signature-malformed", "signature-mismatch")


@settings(deadline=None)
@given(st.text(max_size=120), st.binary(max_size=60))
def test_any_header_and_body(header: str, body: bytes) -> None:
    """No header whatever causes another error, and none that was not signed passes."""
    assert reason_of({HMAC: header}, body)
    assert reason_of({ECDSA: header}, body, ECDSA_ONLY)


@settings(deadline=None)
@given(st.binary(max_size=300), st.text(st.characters(codec="utf-8"), min_size=1, max_size=200))
def test_hmac_agrees_with_the_standard(body: bytes, secret: str) -> None:
    """Whatever the body and the key, HMAC-SHA512 over the raw bytes verifies."""
    if not secret.strip():
        return
    mac = hmac.new(secret.encode(), body, hashlib.sha512).digest()
    assert 0 == signing.verify_hmac(body, encoded(mac), (secret,))


# --- which signatures ---


@pytest.mark.parametrize(
    ("policy", "headers", "reason"),
    [
        (HMAC_ONLY, {}, "signature-missing"),
        (HMAC_ONLY, {ECDSA: V3}, "signature-missing"),
        (EITHER, {ECDSA: V3}, "signature-missing"),
        (EITHER, {HMAC: V2, ECDSA: V3}, "signature-mismatch"),
        (EITHER, {HMAC: V1, ECDSA: V3[:-8]}, "signature-malformed"),
        (ECDSA_ONLY, {HMAC: V1}, "signature-missing"),
        (BOTH, {HMAC: V1}, "signature-missing"),
        (BOTH, {ECDSA: V3}, "signature-missing"),
        (BOTH, {}, "signature-missing"),
        (attrs.evolve(EITHER, require="ecdsa"), {HMAC: V2, ECDSA: V3}, "signature-mismatch"),
    ],
)
def test_policy_refuses(policy: SignaturePolicy, headers: Mapping[str, str], reason: str) -> None:
    """What is required must be there, and what is there beside it must be right."""
    assert reason == reason_of(headers, policy=policy)


@pytest.mark.parametrize(
    ("policy", "headers", "expected"),
    [
        (HMAC_ONLY, {HMAC: V1, ECDSA: "rubbish"}, Authenticity(True, False, 0)),
        (EITHER, {HMAC: V1}, Authenticity(True, False, 0)),
        (ECDSA_ONLY, {ECDSA: V3, HMAC: "rubbish"}, Authenticity(False, True, None)),
        (attrs.evolve(EITHER, require="ecdsa"), {ECDSA: V3}, Authenticity(False, True, None)),
        (attrs.evolve(EITHER, require="ecdsa"), {HMAC: V1, ECDSA: V3}, Authenticity(True, True, 0)),
    ],
)
def test_policy_accepts(
    policy: SignaturePolicy, headers: Mapping[str, str], expected: Authenticity
) -> None:
    """A signature without a key to check it by proves nothing and harms nothing."""
    assert expected == authenticate(headers, V1_BODY, policy)


def test_rotation() -> None:
    """Each of several secrets and public keys is accepted, and the secret's place reported."""
    rotated = SignaturePolicy(
        hmac_secrets=("next_signing_key", "other_signing_key", KEY, KEY),
        ecdsa_public_keys=("xpay", V3_PUBLIC),
        require="both",
    )
    expected = Authenticity(hmac=True, ecdsa=True, key_index=2)
    assert expected == authenticate({HMAC: V1, ECDSA: V3}, V1_BODY, rotated)


def test_every_secret_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit at the first secret costs as many comparisons as a fit at the last."""
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def counting(one: bytes, two: bytes) -> bool:
        compared.append(one)
        return compare(one, two)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    assert 0 == signing.verify_hmac(V1_BODY, V1, (KEY, "second_key", "third_key"))
    assert 3 == len(compared)


# --- headers ---


@pytest.mark.parametrize(
    "headers",
    [
        {"XPay-Signature": V1},
        {"xpay-signature": f" \t{V1}\r\n"},
        [("content-type", "application/json"), ("XPAY-SIGNATURE", V1)],
        [("xpay-signature", V1), ("Xpay-Signature", V1 + " ")],
        iter([("xpay-signature", f"{V1}, {V1}")]),
    ],
)
def test_accepted_headers(headers: Headers) -> None:
    """Names are read in any case, white space around is stripped, equal repeats are one."""
    assert authenticate(headers, V1_BODY, HMAC_ONLY).hmac


def test_different_repeats() -> None:
    """Two different values of one header are refused, in whichever order."""
    for pair in ((V1, V2), (V2, V1), (V1, ""), ("", V1)):
        assert "signature-malformed" == reason_of([(HMAC, pair[0]), ("XPay-Signature", pair[1])])


def test_error_does_not_quote_the_header() -> None:
    """An error names the wrong header, not its content."""
    with pytest.raises(UntrustedMessage, match=HMAC) as caught:
        authenticate({HMAC: "rubbish" * 10}, V1_BODY, HMAC_ONLY)
    assert "rubbish" not in str(caught.value)


# --- policies ---


def spki(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return encoded(key.public_bytes(serialization.Encoding.DER, form))


P384 = spki(ec.generate_private_key(ec.SECP384R1()).public_key())
RSA = spki(rsa.generate_private_key(65537, 2048).public_key())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hmac_secrets": ()},
        {"hmac_secrets": ("",)},
        {"hmac_secrets": (KEY, " \n")},
        {"hmac_secrets": ("\ud800" * 16,)},
        {"hmac_secrets": KEY},
        {"hmac_secrets": (KEY,), "require": "none"},
        {"hmac_secrets": (KEY,), "require": "ecdsa"},
        {"hmac_secrets": (KEY,), "require": "both"},
        {"ecdsa_public_keys": ("xpay",), "require": "both"},
        {"ecdsa_public_keys": ("xpay",)},
        *[
            {"ecdsa_public_keys": keys, "require": "ecdsa"}
            for keys in (("",), ("xPay",), (V3_PUBLIC[:-4],), (V3,), (P384,), (RSA,), "xpay")
        ],
    ],
)
def test_bad_policies(changes: dict[str, object]) -> None:
    """A policy without the keys it needs, or with keys that are none, does not exist."""
    with pytest.raises(ConfigurationError) as caught:
        SignaturePolicy(**changes)  # type: ignore[arg-type]
    assert KEY not in str(caught.value)


def test_secrets_stay_out_of_the_repr() -> None:
    """The repr of a policy shows no secret, but shows the public keys."""
    assert KEY not in repr([EITHER])
    assert V3_PUBLIC in repr([EITHER])


def test_fresh_key() -> None:
    """A signature of another key pair verifies under that key, and under no other."""
    private = ec.generate_private_key(ec.SECP256R1())
    signature = encoded(private.sign(V2_BODY, ec.ECDSA(hashes.SHA256())))
    policy = SignaturePolicy(ecdsa_public_keys=(spki(private.public_key()),), require="ecdsa")
    assert authenticate({ECDSA: signature}, V2_BODY, policy).ecdsa
    assert "signature-mismatch" == reason_of({ECDSA: signature}, V2_BODY, ECDSA_ONLY)


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `cryptography` a policy with ECDSA keys fails at start-up, naming the extra."""
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    unseen = spki(ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(MissingExtra, match=r"xpay-flow\[ecdsa\]"):
        SignaturePolicy(ecdsa_public_keys=(unseen,), require="ecdsa")
    assert SignaturePolicy(hmac_secrets=(KEY,))


def test_hmac_needs_no_extra() -> None:
    """Checking HMAC imports no cryptography package."""
    program = (
        "import sys; from xpay_flow import signing;"
        f"policy = signing.SignaturePolicy(hmac_secrets=({KEY!r},));"
        f"assert signing.authenticate({{{HMAC!r}: {V1!r}}}, {V1_BODY!r}, policy).hmac;"
        "sys.exit('cryptography' in sys.modules)"
    )
    root = Path(signing.__file__).parents[1]
    assert (
        0
        == subprocess.run(
            [sys.executable, "-c", program], cwd=root, check=False, timeout=120
        ).returncode
    )
