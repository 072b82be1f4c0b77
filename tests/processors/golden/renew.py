"""Makes the golden log of a number of rules and the digests of it.

    python -m tests.processors.golden.renew N

Refuses a number that has its digests already, unless CHANGELOG.md has it in a version that is not released yet.
"""

import argparse
import asyncio
from pathlib import Path

import msgspec

from streams.replay import CHUNK, Manner, digests_of, read_log, write_log
from tests.processors.golden import IDENTITY, digest_file, log_file
from tests.processors.golden.recorded import PARTITION, record

CHANGELOG = Path("CHANGELOG.md")
RECORDS, SEED = 20_000, 7


def released(rules: int, changelog: str) -> bool:
    """Whether a version that was released has this number of rules. Raises `ValueError` where no version tells it."""
    for version in changelog.split("\n## ")[1:]:
        if f"\n- Rules {rules}:" in version:
            return "(unreleased)" not in version.splitlines()[0]
    raise ValueError(f"CHANGELOG.md has no line that begins with `- Rules {rules}:`")


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(prog="python -m tests.processors.golden.renew")
    parser.add_argument("rules", type=int)
    given = parser.parse_args()
    if digest_file(given.rules).exists() and released(given.rules, CHANGELOG.read_text()):
        parser.error(f"rules {given.rules} is released with its digests: a change of results is a new number")
    if not log_file(given.rules).exists():
        write_log(log_file(given.rules), record(RECORDS, SEED, given.rules))
    records = read_log(log_file(given.rules))
    found = asyncio.run(digests_of(records, IDENTITY, PARTITION, CHUNK, Manner()))
    digest_file(given.rules).write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


if __name__ == "__main__":
    main()
