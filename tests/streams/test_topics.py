"""Declared topics against a real broker: created once, never altered, switched when an import ends."""

from collections.abc import Iterator
from itertools import count

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaConnectionError

from schemas.topics import PARTITIONS, Topics, topics
from streams.topics import Difference, admin, apply, compare, set_stamp, topic_id
from tests.polling import eventually

pytestmark = pytest.mark.real
NUMBERS = count(1)


@pytest.fixture
def client(kafka_bootstrap: str) -> Iterator[KafkaAdminClient]:
    with admin(kafka_bootstrap) as client:
        yield client


@pytest.fixture
def log() -> Topics:
    return topics(f"topics-test-{next(NUMBERS)}", partitions=3)


def test_missing_topics_are_created_as_declared(client: KafkaAdminClient, log: Topics) -> None:
    created = apply(client, log.all())

    assert [it.topic for it in created] == [it.name for it in log.all()]
    assert all(it.created for it in created)
    assert compare(client, log.all()) == []


def test_a_second_apply_changes_nothing(client: KafkaAdminClient, log: Topics) -> None:
    apply(client, log.all())
    before = topic_id(client, log.actions.name)

    assert apply(client, log.all()) == []
    assert topic_id(client, log.actions.name) == before


def test_another_number_of_partitions_is_told_and_not_altered(client: KafkaAdminClient, log: Topics) -> None:
    apply(client, log.all())
    more = topics(log.log, partitions=5)

    for _ in range(2):
        told = apply(client, [more.facts])
        assert told == [Difference(log.facts.name, "partitions", "5", "3")]
    assert str(told[0]) == f"{log.facts.name}: partitions is 3, declared is 5; not altered"


def test_another_configuration_is_told_and_not_altered(client: KafkaAdminClient, log: Topics) -> None:
    apply(client, log.all())
    changed = {"retention.ms": "1000", "cleanup.policy": "compact"}
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, log.actions.name, changed)])

    differs = [
        Difference(log.actions.name, "cleanup.policy", "delete", "compact"),
        Difference(log.actions.name, "retention.ms", "-1", "1000"),
    ]
    assert eventually(lambda: compare(client, log.all()) == differs)
    assert apply(client, log.all()) == differs
    assert compare(client, log.all()) == differs


def test_looking_creates_nothing(client: KafkaAdminClient, log: Topics) -> None:
    assert [it.found for it in compare(client, log.all())] == ["missing"] * 6
    assert log.actions.name not in client.list_topics()


def test_a_topic_made_anew_has_another_id(client: KafkaAdminClient, log: Topics) -> None:
    apply(client, [log.actions])
    first = topic_id(client, log.actions.name)
    client.delete_topics([log.actions.name])
    assert eventually(lambda: log.actions.name not in client.list_topics())
    apply(client, [log.actions])

    assert topic_id(client, log.actions.name) != first


def test_a_topic_that_is_not_there_has_no_id(client: KafkaAdminClient, log: Topics) -> None:
    with pytest.raises(LookupError, match="memberflow topics apply"):
        topic_id(client, log.actions.name)


def test_history_keeps_its_times_until_the_import_is_finished(client: KafkaAdminClient, kafka_bootstrap: str) -> None:
    log = topics(f"topics-test-{next(NUMBERS)}", partitions=1, history=True)
    apply(client, [log.actions])
    in_1997 = 852_076_800_000

    _send(kafka_bootstrap, log.actions.name, in_1997)
    set_stamp(client, log.actions.name, "LogAppendTime")
    _send(kafka_bootstrap, log.actions.name, in_1997)

    first, second = _stamps(kafka_bootstrap, log.actions.name, 2)
    assert first == in_1997
    assert second > in_1997
    assert apply(client, [topics(log.log, partitions=1).actions]) == []


@pytest.mark.parametrize("nowhere", ["127.0.0.1:1", "127.0.0.1", "127.0.0.1:1,127.0.0.1:2"])
def test_no_broker_is_an_error_and_not_a_wait(nowhere: str) -> None:
    with pytest.raises(KafkaConnectionError, match=f"no Kafka broker listens at {nowhere}"), admin(nowhere):
        pass


def test_every_log_has_names_of_its_own_and_all_topics_one_number_of_partitions() -> None:
    live, other = topics(), topics("cdnow-1")

    assert live.actions.name == "member.actions"
    assert other.actions.name == "cdnow-1.member.actions"
    assert {it.partitions for it in (*live.all(), *other.all())} == {PARTITIONS}
    assert not {it.name for it in live.all()} & {it.name for it in other.all()}
    assert {it.config["cleanup.policy"] for it in live.all()} == {"delete"}


def _send(bootstrap: str, topic: str, timestamp_ms: int) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    producer.send(topic, b"{}", timestamp_ms=timestamp_ms).get(timeout=20)
    producer.close()


def _stamps(bootstrap: str, topic: str, number: int) -> list[int]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, consumer_timeout_ms=20_000)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    stamps = [record.timestamp for _, record in zip(range(number), consumer, strict=False)]
    consumer.close()
    return stamps
