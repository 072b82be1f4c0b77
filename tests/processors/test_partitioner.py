"""A member's partition is where every Java, kafka-python and aiokafka producer puts it."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import murmur2 as theirs
from hypothesis import given
from hypothesis import strategies as st

from processors.partitioner import murmur2, partition_of

# From the tests of Kafka's Java client.
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("data", "signed"), JAVA.items())
def test_the_hash_is_that_of_the_java_client(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed & 0xFFFFFFFF


@given(st.binary(max_size=200))
def test_the_hash_is_that_of_aiokafka_whatever_the_bytes(data: bytes) -> None:
    assert murmur2(data) == theirs(data) & 0xFFFFFFFF


@given(st.text(min_size=1), st.integers(1, 100))
def test_a_member_has_one_partition_and_it_exists(member_id: str, partitions: int) -> None:
    home = partition_of(member_id, partitions)
    assert 0 <= home < partitions
    assert home == (theirs(member_id.encode()) & 0x7FFFFFFF) % partitions
