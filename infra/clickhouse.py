"""A ClickHouse server for this machine, for those who ask; by default the engine lives inside the sink."""

import shutil
import urllib.request
from dataclasses import dataclass
from typing import ClassVar

from infra.process import LOOPBACK, Part, StackError, is_open

CONFIG = """\
<yandex>
  <logger><level>warning</level><console>1</console></logger>
  <listen_host>{host}</listen_host>
  <tcp_port>{port}</tcp_port>
  <http_port>{http_port}</http_port>
  <path>{folder}/data/</path>
  <tmp_path>{folder}/tmp/</tmp_path>
  <user_files_path>{folder}/user_files/</user_files_path>
  <format_schema_path>{folder}/format_schemas/</format_schema_path>
  <users_config>users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <timezone>UTC</timezone>
  <mark_cache_size>67108864</mark_cache_size>
  <uncompressed_cache_size>67108864</uncompressed_cache_size>
</yandex>
"""

# Loopback only and without a password, like the other parts: this is a workbench, not a server room.
USERS = """\
<yandex>
  <profiles><default><max_memory_usage>2000000000</max_memory_usage></default></profiles>
  <users><default>
    <password></password><networks><ip>127.0.0.1</ip></networks>
    <profile>default</profile><quota>default</quota>
  </default></users>
  <quotas><default></default></quotas>
</yandex>
"""


@dataclass(frozen=True)
class ClickHouse(Part):
    """The analytics server of one stack; `port` speaks the native protocol."""

    name: ClassVar[str] = "clickhouse"
    http_port: int

    @property
    def address(self) -> str:
        """The native protocol's host and port."""
        return f"{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        """Writes the two configuration files and the folders they name."""
        for name in ("data", "tmp", "user_files", "format_schemas"):
            (self.folder / name).mkdir(exist_ok=True)
        text = CONFIG.format(host=LOOPBACK, port=self.port, http_port=self.http_port, folder=self.folder)
        (self.folder / "config.xml").write_text(text)
        (self.folder / "users.xml").write_text(USERS)

    def command(self) -> list[str]:
        """The server's command line."""
        return [*server_command(), f"--config-file={self.folder / 'config.xml'}"]

    def healthy(self) -> bool:
        """SELECT 1 over HTTP, and the native port open."""
        try:
            address = f"http://{LOOPBACK}:{self.http_port}/?query=SELECT%201"
            with urllib.request.urlopen(address, timeout=2) as answer:
                return answer.read().strip() == b"1" and is_open(self.port)
        except OSError:
            return False


def server_command() -> list[str]:
    """The server on the PATH, under either of its names; Debian puts it where only root's PATH looks."""
    for name, arguments in (("clickhouse-server", []), ("clickhouse", ["server"])):
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if found:
            return [found, *arguments]
    raise StackError("no clickhouse-server on the PATH: install one, or leave out --clickhouse (chdb needs none)")
