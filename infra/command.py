"""How a command of this folder ends: what a person got wrong is one line that says what to do, exit code 2."""

from __future__ import annotations

import sys

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError

from infra.process import StackError


def run(app: typer.Typer, name: str) -> None:
    """Run the command line of `python -m infra.<name>` and leave the process where it was wrong."""
    try:
        code = app(standalone_mode=False)
    except NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except ClickException as error:
        what = " ".join(error.format_message().split()).rstrip(".")
        wrong(name, f"{what}; see `python -m infra.{name} --help`")
    except StackError as error:
        wrong(name, str(error))
    except typer.Abort:
        wrong(name, "stopped")
    else:
        sys.exit(code if isinstance(code, int) else 0)


def wrong(name: str, told: str) -> None:
    """Say it and leave."""
    print(f"{name}: {told}", file=sys.stderr)
    sys.exit(2)
