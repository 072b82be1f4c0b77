"""The command line of the stack: `python -m infra.stack up|down|status`."""

import json
import logging
import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from infra.command import run, wrong
from infra.process import StackError
from infra.stack import Stack

Engine = Literal["chdb", "server"]
DATA = Path(".stack")
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
Data = Annotated[Path, typer.Option("--data", help="data folder of this stack")]
AsJson = Annotated[bool, typer.Option("--json", help="for scripts")]
PortOption = Annotated[int | None, typer.Option(help="demand this port instead of a free one", min=1, max=65_535)]


@app.command()
def up(
    data: Data = DATA,
    clickhouse: Annotated[Literal["chdb", "server"], typer.Option(help="server = one from the PATH")] = "chdb",
    prometheus: Annotated[bool, typer.Option("--prometheus", help="start the one on the PATH")] = False,
    kafka_port: PortOption = None,
    redis_port: PortOption = None,
    clickhouse_port: PortOption = None,
    prometheus_port: PortOption = None,
    as_json: AsJson = False,
) -> None:
    """Start what is not running yet; harmless when all is."""
    asked = {
        "kafka": kafka_port,
        "redis": redis_port,
        "clickhouse": clickhouse_port,
        "prometheus": prometheus_port,
    }
    ports = {name: port for name, port in asked.items() if port is not None}
    stack = Stack(data, clickhouse=clickhouse, prometheus=prometheus, ports=ports)
    stack.up()
    show(stack, as_json=as_json)
    if not as_json:
        print(f"Commands find it by: set -a; . {shlex.quote(str(stack.env_file))}; set +a")


@app.command()
def status(data: Data = DATA, as_json: AsJson = False) -> None:
    """Ask every part; a dead one is an error."""
    stack = Stack(data)
    show(stack, as_json=as_json)
    for part in stack.status():
        if part.health in ("dead", "silent"):
            raise StackError(
                f"{part.part} is {part.health} (see {part.log}): run `python -m infra.stack down`, then `up`"
            )


@app.command()
def down(data: Data = DATA) -> None:
    """End every part; the data stays."""
    Stack(data).down()


def show(stack: Stack, *, as_json: bool) -> None:
    """The parts as a table, or as one JSON object."""
    parts = stack.status()
    if as_json:
        listed = {part.part: part._asdict() for part in parts}
        print(json.dumps({"parts": listed, "env": stack.env if stack.env_file.exists() else {}}, indent=2))
        return
    table = Table("part", "health", "pid")
    table.add_column("address", no_wrap=True)
    table.add_column("log", overflow="fold")
    for part in parts:
        table.add_row(part.part, part.health, str(part.pid or ""), part.address, part.log)
    Console(soft_wrap=True).print(table)


def main() -> None:
    """Errors a person can do something about are one line, exit code 2."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # a broker that is not up yet is no news
    try:
        run(app, "stack")
    except OSError as error:
        wrong("stack", f"{error.filename}: {error.strerror}; choose another folder with --data")
