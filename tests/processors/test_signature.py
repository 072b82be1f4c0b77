"""Who may speak: a signature covers the exact bytes of a body, and nothing malformed raises."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from processors.signature import holds, public_text, seal
from schemas.records import SignedControl

OURS = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"x" * 32)
KEYS = {"staff": public_text(OURS)}
BODY = b'{"control":"go_live","id":"live","number":1,"by":"ann"}'


def opened(key_id: str = "staff", key: Ed25519PrivateKey = OURS, body: bytes = BODY) -> SignedControl:
    return msgspec.json.decode(seal(SignedControl, key_id, key, body), type=SignedControl)


def test_what_a_key_in_force_signed_holds() -> None:
    assert holds(opened(), KEYS)


@pytest.mark.parametrize(
    ("envelope", "keys"),
    [
        (opened(key=OTHER), KEYS),
        (opened(key_id="unknown"), KEYS),
        (opened(), {}),
        (opened(), {"staff": "not base64!"}),
        (opened(), {"staff": "AAAA"}),
        (msgspec.structs.replace(opened(), signature=""), KEYS),
        (msgspec.structs.replace(opened(), signature="AAAA"), KEYS),
        (msgspec.structs.replace(opened(), signature="é"), KEYS),
    ],
    ids="another-key unknown-key no-keys garbage-key short-key empty short not-ascii".split(),
)
def test_anything_else_does_not(envelope: SignedControl, keys: dict[str, str]) -> None:
    assert not holds(envelope, keys)


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_one_changed_bit_of_the_body_breaks_it(at: int, change: int) -> None:
    body = bytearray(BODY)
    body[at] ^= change
    assert not holds(msgspec.structs.replace(opened(), body=Raw(bytes(body))), KEYS)


@given(st.text(max_size=128), st.text(max_size=64))
def test_no_text_in_the_envelope_makes_it_raise(signature: str, key: str) -> None:
    assert not holds(msgspec.structs.replace(opened(), signature=signature), {"staff": key})
