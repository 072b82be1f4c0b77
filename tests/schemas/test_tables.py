"""The SQL is the source; what the code believes of the tables must be the same, column by column."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import msgspec
import pytest

from schemas.aggregates import Bucket, Calibration
from schemas.boards import BoardPlace
from schemas.facts import KINDS
from schemas.tables import (
    AGGREGATES,
    BOARDS,
    BODY_ONLY,
    CALIBRATION,
    FACTS,
    ON_AGGREGATES,
    TABLES,
    Table,
    month_of,
    row_struct,
)

FOLDER = Path(str(resources.files("schemas"))) / "clickhouse"
CREATE = re.compile(
    r"CREATE TABLE IF NOT EXISTS (?P<name>\w+) \(\n(?P<columns>.*?)\n\) ENGINE = (?P<engine>[^\n]*)\n"
    r"(?:PARTITION BY (?P<partition>[^\n]*)\n)?ORDER BY \((?P<key>[^\n]*)\);",
    re.DOTALL,
)


ADD = re.compile(r"^ALTER TABLE (\w+) ADD COLUMN (\w+) ([\w()]+);$", re.MULTILINE)


def added(name: str) -> dict[str, str]:
    """Columns that later migrations gave a table."""
    text = "".join(path.read_text() for path in sorted(FOLDER.glob("*.sql")))
    assert text.count("ALTER TABLE") == len(ADD.findall(text)), "one column a statement, so that a repeat can skip it"
    return {column: kind for table, column, kind in ADD.findall(text) if table == name}


def created() -> dict[str, re.Match[str]]:
    text = "".join(path.read_text() for path in sorted(FOLDER.glob("*.sql")))
    return {found["name"]: found for found in CREATE.finditer(text)}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_is_what_its_sql_says(table: Table) -> None:
    found = created()[table.name]
    columns = dict(
        re.split(" DEFAULT | CODEC", line.strip().rstrip(","))[0].split(" ", 1) for line in found["columns"].split("\n")
    )
    assert columns | added(table.name) == table.expected()
    assert tuple(found["key"].split(", ")) == table.key
    assert found["engine"] == f"ReplacingMergeTree({table.version})" if table.version else "ReplacingMergeTree"
    assert found["partition"] == (f"toYYYYMM({table.computed[0][0]})" if table.monthly else None)


def test_no_table_is_left_out() -> None:
    assert set(created()) == {table.name for table in TABLES}


def test_every_migration_is_numbered_and_says_why() -> None:
    names = sorted(path.name for path in FOLDER.glob("*.sql"))
    numbers = [int(name[:4]) for name in names]
    assert numbers == list(range(1, len(names) + 1))
    for name in names:
        assert (FOLDER / name).read_text().startswith("-- Why: "), name


def test_every_field_of_every_fact_has_a_column_or_is_left_to_the_body() -> None:
    fields = {field.encode_name for kind in KINDS.values() for field in msgspec.structs.fields(kind)} | {"kind"}
    columns = {column.field for column in FACTS.columns if column.field}
    assert fields - columns == BODY_ONLY
    assert columns <= fields


def test_every_total_of_a_bucket_has_a_column() -> None:
    fields = {field.name for field in msgspec.structs.fields(Bucket)} - {"kind"}
    columns = {column.field for table in AGGREGATES.values() for column in table.columns if column.field}
    assert columns == fields


def test_every_field_of_a_calibration_has_a_column() -> None:
    fields = {field.name for field in msgspec.structs.fields(Calibration)}
    assert {column.field for column in CALIBRATION.columns if column.field} == fields


def test_a_message_on_the_topic_of_aggregates_finds_its_table_by_its_kind() -> None:
    assert AGGREGATES | {Calibration.__struct_config__.tag: CALIBRATION} == ON_AGGREGATES


def test_every_field_of_a_place_on_a_board_has_a_column() -> None:
    fields = {field.name for field in msgspec.structs.fields(BoardPlace)}
    assert {column.field for column in BOARDS.columns if column.field} == fields


def test_a_default_that_is_not_zero_is_the_one_of_the_facts() -> None:
    defaults = {
        field.encode_name: field.default
        for kind in KINDS.values()
        for field in msgspec.structs.fields(kind)
        if field.default not in (msgspec.NODEFAULT, None, "", 0, False, -1, ())
    }
    assert defaults == {column.field: column.default for column in FACTS.columns if column.default}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_an_empty_message_is_a_row_of_defaults(table: Table) -> None:
    row = msgspec.json.decode(b"{}", type=row_struct(table))
    values = dict(zip(row.__struct_encode_fields__, msgspec.structs.astuple(row), strict=True))
    for column in table.columns:
        if column.field:
            value = values[column.field]
            assert (value[column.at] if column.at >= 0 else value) == (
                column.default or ("" if column.type == "String" else 0)
            )


def test_the_month_of_a_moment_is_the_calendars() -> None:
    seed = 7
    print("seed", seed)  # noqa: T201
    rnd = random.Random(seed)
    moments = [0, 951_782_400_000, 951_868_799_999, 951_868_800_000, 1_767_225_599_999, 1_767_225_600_000]
    for moment in [*moments, *(rnd.randrange(4_000_000_000_000) for _ in range(2_000))]:
        day = datetime.fromtimestamp(moment // 1000, UTC)
        assert month_of(moment) == day.year * 100 + day.month
