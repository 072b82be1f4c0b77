"""A part of the programme, as every module that describes some of it needs it."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

Count = Annotated[int, Field(ge=0, le=10**9)]
Positive = Annotated[int, Field(ge=1, le=10**9)]
Days = Annotated[int, Field(ge=0, le=4000)]

THOUSANDTHS = 1_000
"""Code counts a rate in so many parts of one."""
RATE_MAX = 1_000


def _number(value: Any) -> Decimal:
    """What the file wrote as a number, exactly; a binary float would be near it."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("Input should be a valid number")
    return Decimal(value)


def _of_thousandths(value: Decimal) -> Decimal:
    """The shortest way to write it."""
    whole = value * THOUSANDTHS
    if value != value.quantize(Decimal("0.001")):
        raise ValueError("Input should have at most three decimals")
    return Decimal(int(value)) if whole % THOUSANDTHS == 0 else value.normalize()


def bare(number: Decimal) -> int | float:
    """A rate as JSON has it: 1, or 1.2."""
    return int(number) if number == int(number) else float(number)


Rate = Annotated[
    Decimal,
    BeforeValidator(_number),
    Field(ge=0, le=RATE_MAX),
    AfterValidator(_of_thousandths),
    PlainSerializer(bare, when_used="json"),
    WithJsonSchema(
        {"type": "number", "minimum": 0, "maximum": RATE_MAX, "description": "at most three decimals: 1, 1.2, 0.125"}
    ),
]
"""So many for one, in the file with up to three decimals."""


class Part(BaseModel):
    """A part of the programme: unknown names are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
