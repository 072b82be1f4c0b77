"""Kafka's jars: resolved by Maven coordinates once, checked against committed hashes, kept in a cache.

After a change of version: `python -m infra.jars` resolves anew and writes `infra/kafka.sha256`.
"""

import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.process import StackError

KAFKA_VERSION = "4.3.0"
# slf4j-simple: without a binding the broker would take its reasons to the grave.
COORDINATES = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
HASHES = Path(__file__).parent / "kafka.sha256"


def jars() -> list[str]:
    """The broker's classpath; later calls read it from a list and touch no network."""
    listing = _cache_folder() / f"kafka-{KAFKA_VERSION}.classpath"
    listing.parent.mkdir(parents=True, exist_ok=True)
    with _alone(listing.with_suffix(".lock")):
        known = listing.read_text().splitlines() if listing.exists() else []
        if not known or not all(Path(jar).exists() for jar in known):
            known = _resolve()
            refuse_strangers(known)
            listing.write_text("\n".join(known) + "\n")
    return known


def refuse_strangers(paths: list[str]) -> None:
    """What was downloaded must be what was tried: the resolver itself only warns of a wrong checksum."""
    listed = (line.split() for line in HASHES.read_text().splitlines())
    expected = {name: digest for digest, name in listed}
    for path in map(Path, paths):
        if expected.get(path.name) != _sha256(path):
            raise StackError(f"{path} is not the jar this was tried with: delete it and try again")


def hashes(paths: list[str]) -> str:
    """The committed list, in the form of sha256sum."""
    lines = sorted((path.name, _sha256(path)) for path in map(Path, paths))
    return "".join(f"{digest}  {name}\n" for name, digest in lines)


def _resolve() -> list[str]:
    try:
        import jgo
    except ImportError:
        raise StackError("Kafka's jars are not here, nor is jgo to get them: run `make setup`") from None
    print(f"stack: getting Kafka {KAFKA_VERSION} (once, 44 MB)", file=sys.stderr)
    try:
        artifacts = jgo.resolve("+".join(COORDINATES))
        found = []
        for number, artifact in enumerate(artifacts, 1):
            found.append(str(artifact.resolve()))
            if number % 10 == 0 or number == len(artifacts):
                print(f"stack: {number} of {len(artifacts)} jars are here", file=sys.stderr)
    # The resolver has no family of errors: network, checksum and parsing come as they are.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise StackError(f"Kafka's jars could not be had ({reason}): check the network, try again") from error
    return found


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "memberflow"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Two first starts at once would write the same files."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    HASHES.write_text(hashes(_resolve()))
