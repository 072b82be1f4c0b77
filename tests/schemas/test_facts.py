"""Facts and buckets as a contract: what never changes, and that a reader of today reads what is written tomorrow."""

import json

import msgspec
import pytest

from schemas import aggregates, facts
from schemas.aggregates import BucketKey, Totals
from schemas.facts import Fact, OfAction, Tier
from tests.schemas.golden import Golden, buckets, golden, named

EXAMPLES = golden("member.facts")
HEAD = {"log", "partition", "offset", "index", "n", "member_id", "effective_at", "decided_at", "programme", "rules"}


def test_the_kinds_of_facts_are_a_closed_set() -> None:
    """A kind taken away or renamed breaks every reader: add, never change."""
    assert set(facts.KINDS) >= {
        "ledger", "score", "tier.entered", "tier.left", "tier.voided", "tier.moved", "late", "conflict",
        "order_repeat", "order_conflict", "in_force", "region.changed", "account.closed",
    }  # fmt: skip


@pytest.mark.parametrize("kind", facts.KINDS.values(), ids=lambda kind: kind.__struct_config__.tag)
def test_every_fact_begins_with_the_same_head(kind: type[Fact]) -> None:
    assert set(kind.__struct_fields__) >= HEAD
    if issubclass(kind, OfAction):
        assert set(kind.__struct_fields__) >= HEAD | {"source", "event_id", "action"}
    if issubclass(kind, Tier):
        assert set(kind.__struct_fields__) >= HEAD | {"dimension", "tier", "overall", "overall_since"}


@pytest.mark.parametrize("example", EXAMPLES, ids=named)
def test_a_fact_with_a_field_of_tomorrow_is_read_today(example: Golden) -> None:
    later = json.dumps(example.content | {"added_later": [1, 2]}).encode()
    assert facts.decode(later) == facts.decode(example.value)


@pytest.mark.parametrize("example", EXAMPLES, ids=named)
def test_the_bytes_of_a_fact_are_always_the_same(example: Golden) -> None:
    encoded = facts.encode(facts.decode(example.value))
    assert facts.encode(facts.decode(encoded)) == encoded
    assert encoded.startswith(b'{"kind":"%b"' % example.name.encode())


@pytest.mark.parametrize("example", EXAMPLES, ids=named)
def test_a_fact_holds_integers_and_texts_but_no_fraction(example: Golden) -> None:
    """A float would differ between machines; digests are taken over these bytes."""
    encoded = facts.encode(facts.decode(example.value))
    seen: list[str] = []
    json.loads(encoded, parse_float=lambda text: seen.append(text))
    assert seen == []


def test_a_fact_without_its_head_is_no_fact() -> None:
    with pytest.raises(msgspec.ValidationError, match="member_id"):
        facts.decode(b'{"kind":"late","effective_at":1,"decided_at":1}')
    with pytest.raises(msgspec.ValidationError, match="risen"):
        facts.decode(b'{"kind":"tier.risen"}')


@pytest.mark.parametrize("example", buckets(), ids=named)
def test_a_bucket_has_a_key_and_totals_and_nothing_else(example: Golden) -> None:
    place = {"log", "partition", "block"}
    key, totals = set(BucketKey.__struct_fields__), set(Totals.__struct_fields__)
    assert set(aggregates.Bucket.__struct_fields__) == place | key | totals
    assert example.content.keys() <= place | key | totals


def test_a_buckets_key_is_the_same_text_after_a_round_trip() -> None:
    key = BucketKey("day", 20777, region="east", group_id="g", action="purchase")
    encoded = aggregates.encode_key(key)
    assert aggregates.decode_key(encoded) == key
    assert aggregates.encode_key(aggregates.decode_key(encoded)) == encoded
