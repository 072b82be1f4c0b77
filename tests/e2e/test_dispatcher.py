"""The dispatcher as a process: killed where it hurts most, every contact still arrives, one try more at most."""

import json
import secrets
import threading
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.receiver import VALID, Receiver
from infra.stack import Stack
from tests.e2e.memberflow import PARTITIONS, Log, check_in
from tests.polling import eventually

pytestmark = pytest.mark.real
MEMBERS = 12


class Told(list[str]):
    """The lines of a receiver."""

    @property
    def ids(self) -> list[str]:
        return [line.split()[1].rstrip(":") for line in self]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def log(stack: Stack, tmp_path: Path, told: Told) -> Iterator[Log]:
    """A log whose members have been silent for ten days, and that went live before they were seen."""
    secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
    receiver = Receiver(secret, told.append)
    serving = threading.Thread(target=receiver.serve_forever, daemon=True)
    serving.start()
    endpoint = {"name": "coupons", "url": receiver.url, "secret": secret}
    log = Log(
        stack,
        tmp_path,
        MEMBERFLOW_DISPATCHER__ENDPOINTS=json.dumps([endpoint]),
        MEMBERFLOW_DISPATCHER__ALLOW_PRIVATE="true",
    )
    log.ok("bootstrap")
    log.ok("outreach", "go-live", "--why", "a test", "--by", "op-1", "--approved-by", "op-2")
    silent = (datetime.now(UTC) - timedelta(days=10)).isoformat()  # noqa: TID251 - as an app stamps what it sends
    with log.worker():
        log.send([check_in(number, f"silent-{number}", silent) for number in range(MEMBERS)])
        assert eventually(lambda: log.verdicts().get("applied", 0) == MEMBERS, within_s=60)
    yield log
    receiver.shutdown()
    receiver.server_close()
    serving.join(10)


def test_killed_at_every_step_it_sends_everything_and_at_most_one_more(log: Log, told: Told) -> None:
    for point in ("dispatcher.planned", "dispatcher.after_intent:3", "dispatcher.after_post:5"):
        killed = log.process("dispatcher", "partition taken over", 1, {"CRASH_AT": point}, exit_code=-9)
        with killed as running:
            assert running.process.wait(60) == -9
    with log.process("dispatcher", "partition taken over", PARTITIONS, {}):
        assert eventually(lambda: len(set(told.ids)) == MEMBERS, within_s=60), told
    assert all(VALID in line for line in told)
    # The third death may leave as many answers unwritten as tries were under way: four at a time.
    assert MEMBERS <= len(told) <= MEMBERS + 4
    with log.process("dispatcher", "partition taken over", PARTITIONS, {}):
        pass
    assert len(set(told.ids)) == MEMBERS, "a closed contact is never sent again"


def test_an_endpoint_that_cannot_work_is_one_line(log: Log) -> None:
    for change, expected in (
        ({"url": "http://hooks.example.com/"}, "only https"),
        ({"url": "https://localhost/"}, "an internal name"),
        ({"secret": "secret"}, "its secret is not whsec_"),
    ):
        endpoint = {"name": "x", "url": "https://hooks.example.com/", "secret": "whsec_" + "A" * 44} | change
        env = {"MEMBERFLOW_DISPATCHER__ENDPOINTS": json.dumps([endpoint]), "MEMBERFLOW_DISPATCHER__ALLOW_PRIVATE": "0"}
        assert expected in log.refused("dispatcher", stdin=None, code=2, **env)
