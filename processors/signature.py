"""ed25519 over the exact bytes of a body: WRITE on the topic is no authority, a signature is."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Raw

from schemas.records import Signed


def seal(kind: type[Signed], key_id: str, private: Ed25519PrivateKey, body: bytes) -> bytes:
    """The envelope of `kind` around `body`, signed. Whoever holds the key decides alone: keep it on one machine."""
    signature = base64.b64encode(private.sign(body)).decode()
    return msgspec.json.encode(kind(key_id=key_id, signature=signature, body=Raw(body)))


def holds(envelope: Signed, keys: Mapping[str, str]) -> bool:
    """Whether the envelope was signed by the key it names, and that key is one of `keys` (base64 of 32 bytes)."""
    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(keys[envelope.key_id], validate=True))
        public.verify(base64.b64decode(envelope.signature, validate=True), bytes(envelope.body))
    except (KeyError, ValueError, binascii.Error, InvalidSignature):
        return False
    return True


def public_text(private: Ed25519PrivateKey) -> str:
    """The public half as it stands in a control record."""
    return base64.b64encode(private.public_key().public_bytes_raw()).decode()
