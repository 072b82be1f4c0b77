"""A part of the programme, as every module that describes some of it needs it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0, le=10**9)]
Positive = Annotated[int, Field(ge=1, le=10**9)]
Days = Annotated[int, Field(ge=0, le=4000)]


class Part(BaseModel):
    """A part of the programme: unknown names are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
