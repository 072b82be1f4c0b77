"""The bundled receiver: what it calls valid is what Standard Webhooks calls valid."""

import base64
import datetime as dt
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook

from infra.receiver import BODY_BYTES_MAX, INVALID, VALID, Receiver

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"x" * 32).decode()
BODY = b'{"type":"tier.entered","data":{"member":"m-1","tier":"yellow","since":"2026-11-21T00:00:00Z"}}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    lines: list[str] = []
    with Receiver(SECRET, lines.append) as server:
        server.lines = lines  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def post(server: Receiver, body: bytes, secret: str = SECRET, *, signed: bytes | None = None, age_s: int = 0) -> int:
    now = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age_s)  # noqa: TID251 - what is verified is its age
    headers = {
        "webhook-id": "c-1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("c-1", now, (signed or body).decode()),
    }
    try:
        with urllib.request.urlopen(urllib.request.Request(server.url, body, headers), timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def said(server: Receiver) -> list[str]:
    lines: list[str] = server.lines  # type: ignore[attr-defined]
    return lines


def test_a_valid_signature_is_told_with_the_member_and_the_tier(receiver: Receiver) -> None:
    assert post(receiver, BODY) == 204
    assert said(receiver) == [f"webhook c-1: {VALID}: member m-1 entered yellow at 2026-11-21T00:00:00Z"]


def test_a_repeated_id_is_answered_like_the_first_and_told(receiver: Receiver) -> None:
    assert [post(receiver, BODY), post(receiver, BODY)] == [204, 204]
    assert f"{VALID}, seen before" in said(receiver)[1]


def test_another_secret_a_changed_body_and_an_old_post_are_refused(receiver: Receiver) -> None:
    answers = [
        post(receiver, BODY, OTHER),
        post(receiver, BODY, signed=BODY.replace(b"m-1", b"m-2")),
        post(receiver, BODY, age_s=3_600),
    ]
    assert answers == [401, 401, 401]
    assert all(INVALID in line and VALID not in line for line in said(receiver))


def test_a_body_that_is_too_big_is_not_read(receiver: Receiver) -> None:
    assert post(receiver, b"{" + b" " * BODY_BYTES_MAX + b"}") == 413
    assert said(receiver) == []
