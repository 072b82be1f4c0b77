"""The ed25519 keys of a stack: the workers' own and two of staff, since some decisions need two people."""

import base64
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from infra.process import StackError

# The key id in a signed record is the file's name without its ending.
PRIVATE = {"worker_keys": ("workers.pem",), "staff_keys": ("staff.pem", "staff2.pem")}


def make_keys(folder: Path) -> None:
    """Makes the private keys that are missing, readable by their owner only, and `public.json` beside them.

    `public.json` has the shape of the first control record: `worker_keys` and `staff_keys`, base64 by key id.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    public: dict[str, dict[str, str]] = {}
    for role, names in PRIVATE.items():
        for path in (folder / name for name in names):
            if not path.exists():
                _write_private(path)
            public.setdefault(role, {})[path.stem] = _public(path)
    (folder / "public.json").write_text(json.dumps(public, indent=2) + "\n")


def _write_private(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


def _public(path: Path) -> str:
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise StackError(f"{path} is not an ed25519 key: move it away and run `stack up` again")
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(raw).decode()
