"""Commands about programme files: what is wrong with one, what it allows, its form, and promoting a pilot."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from processors.lint import Liability, liability, warnings
from schemas.overlays import leaves
from schemas.part import bare
from schemas.programme import Programme, json_schema, parse
from schemas.programme_text import load
from streams import programme_log as control_log
from streams.bootstrap import programme_text
from streams.cli_operations import ApprovedBy, AsJson, By, File, programme
from streams.errors import UsageError

WIDE = 1 << 20
"""No line of a programme is folded when it is written again."""


def register(app: typer.Typer) -> None:
    """Put the commands of this module beside `programme apply`."""
    programme.command("check")(check)
    programme.command("schema")(schema)
    programme.command("promote")(promote)


def check(file: File, as_json: AsJson = False) -> None:
    """Read a programme; every error with its line and column, then what it allows that nobody can have meant."""
    text = programme_text(file)
    found, read = parse(text, str(file)), load(text, str(file))
    warned = [(*read.place(one.path), ".".join(map(str, one.path)), one.text) for one in warnings(found)]
    most = liability(found)
    if as_json:
        rows = [dict(zip(("line", "column", "path", "text"), row, strict=True)) for row in warned]
        told = {"file": str(file), "name": found.name, "rules": found.rules, "warnings": rows, "liability": _rows(most)}
        print(json.dumps(told, indent=2, ensure_ascii=False))
        return
    print(f"{file}: {found.name} can be applied (rules {found.rules}, days of {found.zone})")
    print(_liability_words(most, found))
    for line, column, path, words in sorted(warned):
        print(f"warning: {file}:{line}:{column}: {path}: {words}")


def schema() -> None:
    """The form of a programme file as JSON Schema, for editors."""
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def promote(
    pilot: Annotated[str, typer.Argument(help="a pilot of the programme")],
    file: File,
    to: Annotated[Path, typer.Option(help="the file to write the next version to")],
    by: By,
    approved_by: ApprovedBy,
) -> None:
    """Write the next version, with what a pilot tried for all members; `programme apply` then puts it in force."""
    control_log.check_two_people(by, approved_by)
    text = programme_text(file)
    if to.exists():
        raise UsageError(f"{to} is there already", remedy="name a new file with --to")
    after = promoted(text, pilot, str(file))
    parse(after, str(to))
    try:
        to.write_text(after)
    except OSError as error:
        raise UsageError(f"{to} cannot be written ({error.strerror})", remedy="name another file with --to") from error
    print(f"{to}: pilot {pilot} holds for all (decided by {by}, {approved_by}); apply it with `programme apply {to}`")


def promoted(text: str, pilot: str, name: str) -> str:
    """The text of the next version, comments kept. Raises `UsageError` for a pilot without metric, goal or end."""
    said = parse(text, name).pilots.get(pilot)
    if said is None:
        known = ", ".join(parse(text, name).pilots) or "none"
        raise UsageError(f"{name} has no pilot {pilot}", remedy=f"its pilots: {known}")
    if missing := [field for field in ("metric", "goal", "end") if getattr(said, field) is None]:
        what = f"pilot {pilot} names no {', '.join(missing)}"
        raise UsageError(
            what, remedy="a pilot is promoted for a metric and a goal, at its end: write them into the file"
        )
    yaml = YAML(typ="rt", pure=True)
    yaml.width, yaml.preserve_quotes = WIDE, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    tree = yaml.load(text)
    for path, _, value in leaves(tree["pilots"][pilot]["overrides"]):
        *above, last = path.split(".")
        part = tree
        for key in above:
            part = part[key]
        part[last] = value
    del tree["pilots"][pilot]
    if not tree["pilots"]:
        del tree["pilots"]
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _rows(most: Liability) -> dict[str, Any]:
    return {
        "points_per_member_and_day": most.points,
        "money_per_member_and_day": most.money(most.points),
        "by_rule": most.by_rule,
        "points_per_unit_of_money": bare(most.per_unit),
        "worth_of_a_point": most.worth,
    }


def _liability_words(most: Liability, found: Programme) -> str:
    parts = ", ".join(f"{name} {points:,}" for name, points in most.by_rule.items() if points and name != INVITED)
    invited = most.by_rule[INVITED]
    done = _points(most, most.points - invited, found)
    bought = f"and {most.per_unit} for each whole unit of money spent"
    text = f"a member earns at most {done} in a day ({parts}) {bought}"
    if invited:
        referral, joins = found.points.referral, found.fraud.referral.joins_per_day
        text += f"\nby those it invited at most {_points(most, invited, found)},"
        text += f" were the {referral.per_year:,} of a year to join"
        text += f" and all {referral.kept:,} known to buy first on one day;"
        text += f" from {joins + 1} joins of a day on they are held"
    return text


def _points(most: Liability, points: int, found: Programme) -> str:
    return f"{points:,} points ({most.money(points) / most.minor_units:,.2f} {found.currencies[0]})"


INVITED = "referral"
