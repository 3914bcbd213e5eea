"""What every part of the configuration is made of: the closed, frozen section, and the ranges of its values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Names = tuple[str, ...]


def _listed(value: Any) -> Any:
    """Split a text at its commas; the parts of a list may have some."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        return parts
    return tuple(part.strip() for part in parts if part.strip())


Places = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""Files or folders: one, several with commas between, or a list."""


def parsable(text: str) -> str:
    """Return an expression of branches; raise ConfigError if it is none."""
    from inferno_cli.expressions import parse

    return parse(text).text


ExpressionText = Annotated[str, AfterValidator(parsable)]
"""An expression of branches, see ``inferno_cli.expressions``."""

POI = "mu"


class Section(BaseModel):
    """A part of the configuration: frozen, strict, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())
