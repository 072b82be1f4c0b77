"""Results of released rules never change: a golden log gives the digests that were committed with it.

Seed: 7. The same log stopped and crashed at every step: tests/crash/test_golden_stops.py.
"""

import msgspec
import pytest

from schemas.programme import RULES, parse
from streams.replay import CHUNK, Digests, Manner, digests_of, read_log, write_log
from tests.processors.golden import IDENTITY, digest_file, log_file
from tests.processors.golden.recorded import PARTITION, programme, record
from tests.processors.golden.renew import CHANGELOG, RECORDS, SEED, released

CHANGED = """results of rules {} have changed. A fix that changes results is a new number of rules with a branch
of its own (design, section 2), and a golden log of its own: python -m tests.processors.golden.renew N"""


@pytest.mark.parametrize("rules", RULES)
async def test_a_changed_result_needs_a_new_number_of_rules(rules: int) -> None:
    records = read_log(log_file(rules))
    assert len(records) == RECORDS
    committed = msgspec.json.decode(digest_file(rules).read_bytes(), type=Digests)
    found = await digests_of(records, IDENTITY, PARTITION, CHUNK, Manner())
    assert found == committed, CHANGED.format(rules)


@pytest.mark.parametrize("rules", RULES)
def test_the_golden_log_is_under_the_rules_it_is_named_for(rules: int) -> None:
    assert parse(programme(1, rules)).rules == rules
    assert f"rules: {rules}".encode() in (read_log(log_file(rules))[0].value or b"")


@pytest.mark.parametrize("rules", RULES)
def test_the_changelog_tells_which_version_brought_a_number_of_rules(rules: int) -> None:
    released(rules, CHANGELOG.read_text())  # else `renew` could not tell whether its digests may still change


def test_digests_of_a_released_number_stay() -> None:
    text = "# Changelog\n\n## 0.2.0 (unreleased)\n- Rules 2: b.\n\n## 0.1.0 (2026-12-01)\n- Rules 1: a.\n"
    assert [released(rules, text) for rules in (2, 1)] == [False, True]
    with pytest.raises(ValueError, match="Rules 3"):
        released(3, text)


def test_a_log_is_recorded_the_same_each_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("recorded")
    for name in ("a", "b"):
        write_log(folder / name, record(2_000, SEED))
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
    assert read_log(folder / "a") == record(2_000, SEED)
