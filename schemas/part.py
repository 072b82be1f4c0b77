"""A part of the programme, as every module that describes some of it needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from schemas.holes import HOLE, HOLES, Unsure, filled, opened
from schemas.spelling import Spelling

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


class OneOf:
    """A word of a closed list; `what` is the word for what it names."""

    def __init__(self, what: str, names: Iterable[str]) -> None:
        self.what, self.names = what, tuple(names)

    def check(self, value: str) -> str:
        """The word. Raises `ValueError` with those that are known."""
        if value not in self.names:
            raise ValueError(f"no such {self.what}: {value}; known: {', '.join(self.names)}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self.names)}


class Part(BaseModel):
    """A part of the programme: unknown names are errors, values never change.

    Read with `HOLES` as context it is never refused: what is wrong in it raises `Unsure` when it is asked for. With a
    `Spelling` its names are corrected in what it is read from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="wrap")
    @classmethod
    def names_are_looked_at(cls, data: Any, handler: Callable[[Any], Any], info: ValidationInfo) -> Any:
        """With holes, what is missing is one."""
        if isinstance(info.context, Spelling) and isinstance(data, dict):
            info.context.correct(data, cls.model_fields)
        if info.context is not HOLES or not isinstance(data, Mapping):
            return handler(data)
        part = handler(opened(data, {name: field.is_required() for name, field in cls.model_fields.items()}))
        for name in [name for name, value in vars(part).items() if value is HOLE]:
            del vars(part)[name]
        return part

    @field_validator("*", mode="wrap")
    @classmethod
    def wrong_values_are_holes(cls, value: Any, handler: Callable[[Any], Any], info: ValidationInfo) -> Any:
        """With holes, so is what a field cannot have."""
        return filled(value, handler) if info.context is HOLES else handler(value)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise Unsure(name)
            return super().__getattr__(name)
