"""Did xPay send exactly these bytes?

xPay signs the raw body, in two ways: `xpay-signature` is HMAC-SHA512 under the endpoint's own
signing key, `xpay-private-signature` is ECDSA (P-256, SHA-256) under one key for all merchants.
So HMAC proves "from xPay, for us", and ECDSA alone only "from xPay". Neither covers a time: a
replay is recognised by its event id, elsewhere.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias, cast, get_args

import attrs

from . import messages
from .errors import ConfigurationError, InvalidValue, MissingExtra, UntrustedMessage

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

Reason = Literal[
    "signature-missing",
    "signature-malformed",
    "signature-mismatch",
    "signature-foreign-format",
]
REASONS: Final = frozenset[str](get_args(Reason))

Require = Literal["hmac", "ecdsa", "both"]
Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]

# "xPay's public key", base64 of its SubjectPublicKeyInfo, from the page on verification.
XPAY_ECDSA_PUBLIC_KEY: Final = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBlXbsIwGSYhdXBOtdrZr3L346JXi3dOg8vP9NCcTOV0u"
    "cLVl/GPi2ZVMsdBISQKTGIhzXY/gddRl846C27TfPw=="
)
# The word that stands for it in settings.
XPAY_KEY_NAME: Final = "xpay"


@attrs.frozen(kw_only=True)
class SignaturePolicy:
    """Which signatures a webhook must carry.

    Args:
        hmac_secrets: the endpoint's signing keys as text, all of them valid (for rotation).
        ecdsa_public_keys: base64 SubjectPublicKeyInfo, or "xpay" for the key xPay has published.
        require: what must be there and verify. A signature that is not required, but is there and
            can be checked, must verify, too. "ecdsa" admits events meant for other merchants.

    Raises:
        ConfigurationError: a key is empty or unreadable, or what is required has no key.
        MissingExtra: ECDSA keys are given and `cryptography` is not installed.
    """

    hmac_secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    ecdsa_public_keys: tuple[str, ...] = ()
    require: Require = "hmac"

    def __attrs_post_init__(self) -> None:
        # A single string would be taken for a list of one-letter secrets.
        if isinstance(self.hmac_secrets, str) or isinstance(self.ecdsa_public_keys, str):
            raise ConfigurationError("hmac_secrets and ecdsa_public_keys are tuples of strings")
        if self.require not in get_args(Require):
            raise ConfigurationError(f"require must be one of {', '.join(get_args(Require))}")
        if self.require != "ecdsa" and not self.hmac_secrets:
            raise ConfigurationError(f"require={self.require!r} needs hmac_secrets")
        if self.require != "hmac" and not self.ecdsa_public_keys:
            raise ConfigurationError(f"require={self.require!r} needs ecdsa_public_keys")
        for secret in self.hmac_secrets:
            _secret_bytes(secret)
        for key in self.ecdsa_public_keys:
            _public_key(key)


@attrs.frozen
class Authenticity:
    """What was proved. `key_index` is the place of the HMAC secret that fitted, or None."""

    hmac: bool
    ecdsa: bool
    key_index: int | None


def authenticate(headers: Headers, body: bytes, policy: SignaturePolicy) -> Authenticity:
    """Proves that xPay sent exactly `body`, as far as `policy` demands.

    Args:
        headers: names in any case; a signature header may be repeated, if always the same.
        body: the raw bytes as received, before any parsing.

    Raises:
        UntrustedMessage: with a reason out of `REASONS`.
        InvalidValue: the headers are no pairs, or the body is no bytes.
    """
    if not isinstance(cast(object, body), bytes | bytearray | memoryview):
        raise InvalidValue("body must be the exact bytes that came, not text made of them")
    pairs = _pairs(headers)
    key_index = None
    header = _header(pairs, messages.HMAC_HEADER) if policy.hmac_secrets else None
    if header is not None or policy.require in ("hmac", "both"):
        key_index = verify_hmac(body, header, policy.hmac_secrets)
        if key_index is None:
            _refuse("signature-mismatch", messages.HMAC_HEADER)
    header = _header(pairs, messages.ECDSA_HEADER) if policy.ecdsa_public_keys else None
    ecdsa = header is not None or policy.require in ("ecdsa", "both")
    if ecdsa and not verify_ecdsa(body, header, policy.ecdsa_public_keys):
        _refuse("signature-mismatch", messages.ECDSA_HEADER)
    return Authenticity(hmac=key_index is not None, ecdsa=ecdsa, key_index=key_index)


def verify_hmac(body: bytes, header: str | None, secrets: Sequence[str]) -> int | None:
    """The place in `secrets` of the first one under which `header` signs `body`, or None.

    Every secret is tried, so that the time taken does not show which one fitted.
    Raises UntrustedMessage if the header is missing or is no HMAC-SHA512 in base64.
    """
    signature = _signature(header, messages.HMAC_HEADER)
    if len(signature) != _HMAC_BYTES:
        _refuse("signature-malformed", f"{messages.HMAC_HEADER} is not {_HMAC_BYTES} bytes")
    fits = [
        hmac.compare_digest(hmac.digest(_secret_bytes(secret), body, "sha512"), signature)
        for secret in secrets
    ]
    return fits.index(True) if any(fits) else None


def verify_ecdsa(body: bytes, header: str | None, public_keys: Sequence[str]) -> bool:
    """Whether `header` signs `body` under one of `public_keys`.

    Raises UntrustedMessage if the header is missing or is no DER SEQUENCE(r, s) in base64; the
    other usual form, r and s side by side, is not what xPay sends.
    """
    signature = _signature(header, messages.ECDSA_HEADER)
    keys = [_public_key(key) for key in public_keys]
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    try:
        decode_dss_signature(signature)
    except ValueError:
        _refuse("signature-malformed", f"{messages.ECDSA_HEADER} is not DER")
    return any(_fits(key, signature, body) for key in keys)


_HMAC_BYTES: Final = 64
# A header much longer than either signature (88 and at most 96 characters) is not worth decoding.
_HEADER_CHARS_MAX: Final = 256
# xpay.app, which is not related, signs with a header of the same name: `t=<time>,v1=<hex>`.
_FOREIGN: Final = re.compile(r"(?:^|,)[ \t]*(?:t|v[0-9]+)=")


def _refuse(reason: Reason, detail: str) -> NoReturn:
    raise UntrustedMessage(reason, detail) from None


def _pairs(headers: Headers) -> tuple[tuple[object, object], ...]:
    """Names and values as they were given: a framework may hand over other things than text."""
    given: Any = headers
    if isinstance(headers, Mapping):
        given = cast("Mapping[str, str]", headers).items()
    try:
        return tuple((name, value) for name, value in given)
    except (TypeError, ValueError):
        raise InvalidValue("headers must be a mapping or pairs of a name and a value") from None


def _header(pairs: Iterable[tuple[object, object]], name: str) -> str | None:
    """The one value of a header, which proxies may have repeated or joined with commas."""
    values: set[str] = set()
    for key, value in pairs:
        if isinstance(key, bytes):
            key = key.decode("latin-1")
            value = b"" if value is None else value
        if not isinstance(key, str) or key.lower() != name or value is None:
            continue
        if not isinstance(value, str):
            what = f"{name} is {type(value).__name__}, not text: decode names and values as Latin-1"
            _refuse("signature-malformed", what)
        if _FOREIGN.search(value):
            detail = f"{name} is written as t=…,v1=…: another product's format, not xPay Checkout's"
            _refuse("signature-foreign-format", detail)
        values.update(part.strip(" \t\r\n") for part in value.split(","))
    if len(values) > 1:
        _refuse("signature-malformed", f"{name} has several different values")
    return values.pop() if values else None


def _signature(header: str | None, name: str) -> bytes:
    value = (header or "").strip(" \t\r\n")
    if not value:
        _refuse("signature-missing", f"no {name} header")
    signature = _strict_base64(value) if len(value) <= _HEADER_CHARS_MAX else None
    if signature is None:
        _refuse("signature-malformed", f"{name} is not standard base64 with padding")
    return signature


def _strict_base64(text: str) -> bytes | None:
    """The bytes behind the one spelling that standard base64 with padding has for them."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    # The decoder ignores the unused bits of the last character.
    return decoded if base64.b64encode(decoded).decode() == text else None


def _secret_bytes(secret: str) -> bytes:
    # "The signing key, used as its UTF-8 bytes", not decoded, whatever it looks like.
    try:
        encoded = secret.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigurationError("an HMAC secret holds a lone surrogate") from None
    # An empty key would let anyone sign.
    if not secret.strip():
        raise ConfigurationError("an HMAC secret is empty")
    return encoded


# An operator lists a handful of keys; parsing one costs more than checking a signature.
@lru_cache(maxsize=32)
def _public_key(text: str) -> EllipticCurvePublicKey:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_der_public_key
    except ImportError:
        raise MissingExtra("xpay_flow.signing with ECDSA", "ecdsa") from None
    der = _strict_base64(XPAY_ECDSA_PUBLIC_KEY if text == XPAY_KEY_NAME else text)
    try:
        key = load_der_public_key(der or b"")
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        raise ConfigurationError(
            "one of ecdsa_public_keys is not an ECDSA P-256 public key: give the base64 of its "
            f"SubjectPublicKeyInfo in DER, or the word {XPAY_KEY_NAME!r} for xPay's published key"
        )
    return key


def _fits(key: EllipticCurvePublicKey, signature: bytes, body: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        key.verify(signature, body, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
