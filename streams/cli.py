"""The command line, and the only composer: here the machine's clock, its signals and its environment are named.

Every error a person can cause is one line on stderr that says what to do, and exit code 2.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError
from typer.core import TyperGroup

from schemas.programme import ProgrammeError
from schemas.topics import topics as declared_topics
from streams import bootstrap as beginning
from streams import (
    cli_alive,
    cli_analytics,
    cli_boards,
    cli_inspect,
    cli_looking,
    cli_operations,
    cli_processes,
    cli_programme,
    cli_staff,
)
from streams import topics as topic_admin
from streams.errors import MemberflowError, UsageError
from streams.keys import private_key
from streams.terminal import visible
from streams.wiring import Invocation, broker, masked, masked_place, run


class OneLineErrors(TyperGroup):
    """A group whose errors are one line each, with the exit code of the error."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **kept: Any) -> Any:  # type: ignore[override]
        """Run a command line and leave the process."""
        kept["standalone_mode"] = False
        try:
            _demand_text(sys.argv[1:] if args is None else args)
            code = super().main(args=args, prog_name=prog_name or "memberflow", **kept)
        except NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except ClickException as error:
            what = " ".join(error.format_message().split()).rstrip(".")
            code = _tell(f"{what}; see `memberflow --help`", error.exit_code)
        except ProgrammeError as error:
            code = _tell(str(error), 2)
        except MemberflowError as error:
            code = _tell(str(error), error.exit_code)
        except typer.Abort:
            code = _tell("stopped", 1)
        sys.exit(code if isinstance(code, int) else 0)


def _demand_text(args: Sequence[str]) -> None:
    for arg in args:
        if not arg.isascii() and any("\ud800" <= letter <= "\udfff" for letter in arg):
            raise UsageError(f"{arg!a} is not text in UTF-8", remedy="type it anew")


def _tell(text: str, code: int) -> int:
    for line in text.splitlines():
        print(visible(f"memberflow: {line}"), file=sys.stderr)
    return code


app = typer.Typer(
    cls=OneLineErrors,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="What members do becomes points, activity scores and warning tiers.",
)
topics_app = typer.Typer(no_args_is_help=True, help="The topics of the log.")
config_app = typer.Typer(no_args_is_help=True, help="Settings.")
app.add_typer(topics_app, name="topics")
app.add_typer(config_app, name="config")


@app.callback()
def settings(
    ctx: typer.Context,
    env_file: Annotated[
        Path | None,
        typer.Option(envvar="MEMBERFLOW_ENV_FILE", help="settings; without it .stack/stack.env, if there is one"),
    ] = None,
    secrets_dir: Annotated[
        Path | None, typer.Option(envvar="MEMBERFLOW_SECRETS_DIR", help="folder with one file per secret setting")
    ] = None,
) -> None:
    """What every command needs."""
    for name in ("kafka", "aiokafka", "clickhouse_driver"):  # what matters of it comes as one of our errors
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ctx.obj = Invocation(time.time, env_file=env_file, secrets=secrets_dir)


# -- the log ----------------------------------------------------------------------------------------------------


@topics_app.command("apply")
def topics_apply(ctx: typer.Context) -> None:
    """Create the missing topics; tell what differs from the declaration, alter nothing."""
    invocation: Invocation = ctx.obj
    settings = invocation.settings
    with broker(settings) as client:
        told = topic_admin.apply(client, invocation.topics.all(), replication=settings.kafka.replication)
    for difference in told:
        print(difference)
    if not told:
        print("all topics are as declared")
    if not all(difference.created for difference in told):
        raise UsageError("topics differ from the declaration", remedy="decide by hand; what differs was not altered")


@app.command()
def bootstrap(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="first programme; without it the default one")] = None,
    by: Annotated[str, typer.Option(help="who begins the log")] = "",
    history: Annotated[
        bool, typer.Option("--history", help="history is imported first: topics that keep the times of the past")
    ] = False,
    history_from: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="no action is older than this day (UTC)")
    ] = datetime(2000, 1, 1),  # noqa: DTZ001 - typer parses days without a zone; UTC is put on below
) -> None:
    """Begin a log: topics, the first programme in every partition, empty state."""
    invocation: Invocation = ctx.obj
    text = beginning.programme_text(file) if file else default_programme()
    begun = run(_bootstrap(invocation, text, by or invocation.user(), history_from, history=history))
    print(f"log {invocation.settings.log} has begun in partitions {', '.join(map(str, begun))}")


async def _bootstrap(invocation: Invocation, text: str, by: str, since: datetime, *, history: bool) -> list[int]:
    settings = invocation.settings
    sign = private_key(settings.keys.folder, settings.keys.staff)
    wanted = declared_topics(settings.log, partitions=settings.partitions, history=history)
    async with invocation.store() as store:
        await store.check()
        with broker(settings) as client:
            for difference in topic_admin.apply(client, wanted.all(), replication=settings.kafka.replication):
                print(difference)
        history_from = round(since.replace(tzinfo=UTC).timestamp() * 1000)
        return await beginning.bootstrap(
            settings, store, invocation.topic_id(), text, sign, by=by, history_from=history_from
        )


def default_programme() -> str:
    """The programme that is shipped."""
    return (resources.files("schemas") / "programmes" / "default.yaml").read_text()


# -- settings ---------------------------------------------------------------------------------------------------


@config_app.command("show")
def config_show(ctx: typer.Context) -> None:
    """The settings in force, secrets masked, as JSON; each is MEMBERFLOW_<GROUP>__<NAME> in the environment."""
    invocation: Invocation = ctx.obj
    shown = invocation.settings.model_dump(mode="json")
    shown["redis"]["url"] = masked(shown["redis"]["url"])
    for endpoint in shown["dispatcher"]["endpoints"]:
        endpoint["url"] = masked_place(endpoint["url"])
    print(json.dumps(shown, indent=2))


for commands in (
    cli_processes,
    cli_operations,
    cli_programme,
    cli_analytics,
    cli_alive,
    cli_boards,
    cli_inspect,
    cli_looking,
    cli_staff,
):
    commands.register(app)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
