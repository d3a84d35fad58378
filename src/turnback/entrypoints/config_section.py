"""One table of turnback.toml: what every table has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Strict

Strings = Annotated[tuple[str, ...], Strict(False)]


class Section(BaseModel):
    """No unknown keys, no coercion ("10" is not 10), frozen."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True, strict=True)
