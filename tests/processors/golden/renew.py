"""Makes the golden log of a number of rules and the digests of it.

    python -m tests.processors.golden.renew N [--unreleased]

Refuses a number that has its digests already, unless nothing was released with it yet.
"""

import argparse
import asyncio

import msgspec

from streams.replay import CHUNK, Manner, digests_of, read_log, write_log
from tests.processors.golden import IDENTITY, digest_file, log_file
from tests.processors.golden.recorded import PARTITION, record

RECORDS, SEED = 20_000, 7


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(prog="python -m tests.processors.golden.renew")
    parser.add_argument("rules", type=int)
    parser.add_argument(
        "--unreleased", action="store_true", help="the number has not been released: its digests may change"
    )
    given = parser.parse_args()
    if digest_file(given.rules).exists() and not given.unreleased:
        parser.error(f"rules {given.rules} has its digests: a change of results is a new number")
    if not log_file(given.rules).exists():
        write_log(log_file(given.rules), record(RECORDS, SEED, given.rules))
    records = read_log(log_file(given.rules))
    found = asyncio.run(digests_of(records, IDENTITY, PARTITION, CHUNK, Manner()))
    digest_file(given.rules).write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


if __name__ == "__main__":
    main()
