"""The keys folder: private keys to sign with, public ones for the first record of a log."""

from __future__ import annotations

from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from schemas.settings import Settings
from streams.errors import UsageError

Key = tuple[str, Ed25519PrivateKey]
"""A private key and the id under which its public half is known."""


def private_key(folder: Path, name: str) -> Key:
    """A private key of the keys folder and its id. Raises `UsageError`."""
    path = folder / name
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"no private key in {path} ({why})", remedy="set MEMBERFLOW_KEYS__FOLDER") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is not an ed25519 key", remedy="make one with `python -m infra.stack up`")
    return path.stem, key


def public_keys(settings: Settings) -> dict[str, dict[str, str]]:
    """`worker_keys` and `staff_keys` of the keys folder. Raises `UsageError`."""
    path = settings.keys.folder / settings.keys.public
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, str]])
    except (OSError, msgspec.MsgspecError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"no public keys in {path} ({why})", remedy="set MEMBERFLOW_KEYS__FOLDER") from error
    for role in ("worker_keys", "staff_keys"):
        if not found.get(role):
            raise UsageError(f"{path} names no {role}", remedy="set MEMBERFLOW_KEYS__FOLDER")
    return found
