"""A Prometheus for this machine: finds our processes by the files they leave, loads the alert rules."""

import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from infra.process import LOOPBACK, Part, StackError

# One second: a demo of twenty seconds should show something. Rules are generated beside the boards.
CONFIG = """\
global:
  scrape_interval: 1s
  evaluation_interval: 1s
scrape_configs:
  - job_name: memberflow
    file_sd_configs:
      - files: ["{targets}/*.json"]
        refresh_interval: 1s
rule_files: ["{rules}/*.yml"]
"""


@dataclass(frozen=True)
class Prometheus(Part):
    """The metrics server of one stack. A target file's `job` label wins over the name of the scrape."""

    name: ClassVar[str] = "prometheus"
    targets: Path
    rules: Path

    @property
    def address(self) -> str:
        """Its page and API."""
        return f"http://{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        """Writes the configuration; the folder of targets fills up by itself."""
        self.targets.mkdir(parents=True, exist_ok=True)
        text = CONFIG.format(targets=self.targets, rules=self.rules)
        (self.folder / "prometheus.yml").write_text(text)

    def command(self) -> list[str]:
        """The server's command line."""
        found = shutil.which("prometheus")
        if not found:
            raise StackError("no prometheus on the PATH: install one, or leave out --prometheus")
        return [
            found,
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
            "--log.level=warn",
        ]

    def healthy(self) -> bool:
        """Its own readiness."""
        try:
            with urllib.request.urlopen(f"{self.address}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
