"""Commands that look into the state or bring it back: member, audit, snapshot, rebuild, import."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Put the commands of this module onto the command line."""
