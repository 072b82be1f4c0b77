"""Topics as declared meet topics as they are: the missing are created, differences told, nothing altered.

An altered partition count sends members to other partitions and an altered stamp changes the clock, so a
difference is a person's decision. The one change made here is the end of an import, by its own command.
"""

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from uuid import UUID

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError

from schemas.topics import Stamp, Topic


class Difference(NamedTuple):
    """Something about a topic that is not as declared; for a topic just created, `found` is `missing`."""

    topic: str
    what: str
    declared: str
    found: str

    @property
    def created(self) -> bool:
        """Whether the whole topic was missing: `apply` has created it, `compare` has only looked."""
        return self.what == CREATED

    def __str__(self) -> str:
        if self.created:
            return f"{self.topic}: created with {self.declared}"
        return f"{self.topic}: {self.what} is {self.found}, declared is {self.declared}; not altered"


CREATED = "topic"
SHOWN_SECONDS = 30.0
"""The controller acknowledges a change before the brokers show it: milliseconds, or seconds on a busy machine."""


@contextmanager
def admin(bootstrap: str, *, patience_s: float = 5.0) -> Iterator[KafkaAdminClient]:
    """An admin client for a short errand; raises KafkaConnectionError when none answers."""
    servers = bootstrap.split(",")
    if not any(_listens(server) for server in servers):  # kafka-python would try for long and leave sockets open
        raise KafkaConnectionError(f"no Kafka broker listens at {bootstrap}")
    client = KafkaAdminClient(
        bootstrap_servers=servers,
        client_id="memberflow-topics",
        bootstrap_timeout_ms=round(patience_s * 1000),
    )
    try:
        yield client
    finally:
        client.close()


def apply(client: KafkaAdminClient, topics: Sequence[Topic], *, replication: int = 1) -> list[Difference]:
    """Creates the missing topics; returns what was created and what differs: none if all is as declared."""
    there = {name: found for topic in topics for name, found in _described(client, topic.name).items()}
    missing = [topic for topic in topics if topic.name not in there]
    if missing:
        _create(client, missing, replication)
    created = [Difference(it.name, CREATED, f"{it.partitions} partitions", "missing") for it in missing]
    present = [topic for topic in topics if topic.name in there]
    return created + _differences(client, present, there)


def compare(client: KafkaAdminClient, topics: Sequence[Topic]) -> list[Difference]:
    """Like `apply`, but only looks."""
    there = {name: found for topic in topics for name, found in _described(client, topic.name).items()}
    absent = [
        Difference(it.name, "topic", f"{it.partitions} partitions", "missing") for it in topics if it.name not in there
    ]
    return absent + _differences(client, [it for it in topics if it.name in there], there)


def topic_id(client: KafkaAdminClient, name: str) -> UUID:
    """The broker's own id of a topic: one that was deleted and made anew has another, and is another log."""
    return identity(client, name)[0]


def identity(client: KafkaAdminClient, name: str) -> tuple[UUID, int]:
    """A topic's own id and how many partitions it has. Raises `LookupError` where there is none of this name."""
    found = _described(client, name).get(name)
    if found is None:
        raise LookupError(f"there is no topic {name}: run `memberflow topics apply`")
    return UUID(str(found["topic_id"])), len(found["partitions"])


def set_stamp(client: KafkaAdminClient, name: str, stamp: Stamp) -> None:
    """Switches how a topic's new records are stamped; old stamps stay. The end of an import (`--finish`)."""
    resource = ConfigResource(ConfigResourceType.TOPIC, name, {"message.timestamp.type": stamp})
    client.alter_configs([resource])
    deadline = time.monotonic() + SHOWN_SECONDS
    while (found := _configs(client, [name])[name]["message.timestamp.type"]) != stamp:
        if time.monotonic() > deadline:
            raise KafkaError(f"{name} still stamps its records with {found}")
        time.sleep(0.05)


def _listens(server: str) -> bool:
    host, _, port = server.strip().rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except (OSError, ValueError):
        return False
    return True


def _create(client: KafkaAdminClient, topics: Sequence[Topic], replication: int) -> None:
    wanted = {
        topic.name: {
            "num_partitions": topic.partitions,
            "replication_factor": replication,
            "configs": topic.config,
        }
        for topic in topics
    }
    with suppress(TopicAlreadyExistsError):  # by somebody else, just now: it is compared by the next apply
        client.create_topics(wanted, wait_for_metadata=True)


def _differences(
    client: KafkaAdminClient, topics: Sequence[Topic], there: Mapping[str, Mapping[str, Any]]
) -> list[Difference]:
    configs = _configs(client, [topic.name for topic in topics])
    differences = []
    for topic in topics:
        found = {"partitions": str(len(there[topic.name]["partitions"])), **configs[topic.name]}
        declared = {"partitions": str(topic.partitions), **topic.config}
        differences += [
            Difference(topic.name, what, value, found.get(what, "unset"))
            for what, value in declared.items()
            if found.get(what) != value
        ]
    return differences


def _described(client: KafkaAdminClient, name: str) -> dict[str, dict[str, Any]]:
    # One by one: asking for a topic that is not there is no error, but an answer with an error code.
    return {it["name"]: it for it in client.describe_topics([name]) if not it["error_code"]}


def _configs(client: KafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    answer = client.describe_configs(resources, config_filter="all").get("topic", {})
    return {name: {key: it["value"] for key, it in answer[name].items()} for name in names}
