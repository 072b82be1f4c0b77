"""Golden logs: for each number of `rules` a log of 20,000 records and the digests of what comes of it.

`rules-N.msgpack.gz` is the log, `rules-N.json` the digests. Results of a released number never change: a fix that
changes any is a new number N with a branch of its own in the rules and a golden log of its own:

    python -m tests.processors.golden.renew N
"""

from pathlib import Path

from streams.store import Identity
from tests.processors.golden.recorded import LOG, PARTITIONS

FOLDER = Path(__file__).parent
IDENTITY = Identity(LOG, "recorded", PARTITIONS)


def log_file(rules: int) -> Path:
    """The log of a number of rules."""
    return FOLDER / f"rules-{rules}.msgpack.gz"


def digest_file(rules: int) -> Path:
    """What must come of that log."""
    return FOLDER / f"rules-{rules}.json"
