"""Records as senders write them, good ones and bad ones."""

from __future__ import annotations

import json
from typing import Any

from tests.schemas.golden import golden

GOOD = next(it for it in golden("member.actions") if it.name == "check_in").content
NESTED = b"[" * 900 + b"]" * 900
STAFF = {"action": "erase", "reason": "asked for", "operator": "op-1", "approved_by": "op-2"}


def record(**changes: Any) -> bytes:
    """A check-in with these fields changed; None takes one away."""
    content = {key: value for key, value in (GOOD | changes).items() if value is not None}
    return json.dumps(content, ensure_ascii=False).encode()


def with_text(text: bytes, action: str = "check_in") -> bytes:
    """A record with something written into it that `json` would not write."""
    return record(action=action)[:-1] + b"," + text + b"}"


def envelope(kind: str, body: bytes) -> bytes:
    return b'{"record":"%b","key_id":"staff","signature":"AAAA","body":%b}' % (kind.encode(), body)
