"""How xPay signs a webhook: two headers over the raw bytes of the body.

`xpay-signature` is "base64(HMAC-SHA512(key, body))" with the key's UTF-8 bytes;
`xpay-private-signature` is the base64 of a DER signature, ECDSA on P-256 with SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from functools import cached_property
from typing import TYPE_CHECKING

from xpay_flow.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

log = logging.getLogger("xpay_flow.sandbox")


def hmac_signature(key: str, body: bytes) -> str:
    """The value of `xpay-signature`: 88 characters."""
    return base64.b64encode(hmac.digest(key.encode(), body, hashlib.sha512)).decode()


class EcdsaSigner:
    """Signs with the sandbox's own P-256 key, made when first needed unless a PEM is given."""

    def __init__(self, pem: bytes | None = None) -> None:
        self._pem = pem

    def signature(self, body: bytes) -> str | None:
        """The value of `xpay-private-signature`, or None where `cryptography` is missing."""
        if self._key is None:
            return None
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        return base64.b64encode(self._key.sign(body, ec.ECDSA(hashes.SHA256()))).decode()

    @property
    def public_key(self) -> str | None:
        """Base64 of the key's SubjectPublicKeyInfo, the form in which xPay prints its own."""
        if self._key is None:
            return None
        from cryptography.hazmat.primitives import serialization

        return base64.b64encode(
            self._key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        ).decode()

    @cached_property
    def _key(self) -> EllipticCurvePrivateKey | None:
        try:
            from cryptography.hazmat.primitives.asymmetric import ec
        except ImportError:
            log.warning("no `cryptography`: webhooks carry only the HMAC signature")
            return None
        return ec.generate_private_key(ec.SECP256R1()) if self._pem is None else _read(self._pem)


def _read(pem: bytes) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigurationError("ecdsa_private_key_pem must be an unencrypted P-256 key in PEM")
    return key
