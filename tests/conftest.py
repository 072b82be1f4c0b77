"""The real parts that tests share: one stack for the session, started by the first test that asks for it."""

import logging
import os
import shutil
from collections.abc import Iterator
from typing import NoReturn

import hypothesis
import pytest
import structlog

from infra.stack import Stack

# How long an example takes is no property of it on a shared machine; what fails is printed so that it can be replayed.
hypothesis.settings.register_profile(
    "shared machines",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
)
hypothesis.settings.load_profile("shared machines")

NOTHING_MAY_SKIP = "MEMBERFLOW_TEST_NO_SKIP"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests recorded of themselves (`record_property`): their seeds, and what came of them."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in report.user_properties if getattr(report, "when", "") == "call" else ():
                terminalreporter.write_line(f"{report.nodeid}: {name} {value}")


def absent(reason: str) -> NoReturn:
    """Skips a test whose real part is not on this machine; where nothing may skip, as in CI, fails it."""
    if os.environ.get(NOTHING_MAY_SKIP) == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A command run in this process sets up logs on a stderr that is closed after its test; the next one must not."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka and Redis for the whole session; every process is ended by its id at the end.

    Shared: take names of topics, logs and members that are your own, and never stop its parts. A test that
    kills something starts a `Stack` of its own.
    """
    with Stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def kafka_bootstrap(stack: Stack) -> str:
    """host:port of the shared broker."""
    return stack.kafka


@pytest.fixture(scope="session")
def redis_url(stack: Stack) -> str:
    """URL of the shared Redis (database 0)."""
    return stack.redis_url


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int, int]]:
    """Host, native port and HTTP port of a real ClickHouse server from the PATH."""
    on_path("clickhouse-server")
    with Stack(tmp_path_factory.mktemp("clickhouse"), clickhouse="server", parts=()) as running:
        assert running.clickhouse is not None
        yield running.clickhouse


def on_path(name: str) -> str:
    """The path of a program that a test needs, or the skip that says which is missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        absent(f"no {name} on the PATH")
    return found
