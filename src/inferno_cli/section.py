"""What the configuration and every choice are made of: the closed, frozen section, and the ranges of its values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

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


LISTED = BeforeValidator(_listed)
"""Of a tuple of texts: one text, several with commas between, or a list."""
Texts = Annotated[tuple[str, ...], LISTED]
"""Texts that are given as one, with commas between, or as a list."""
Paths = Texts
"""Files or folders."""


def _array_or_string(value: Any) -> str:
    return "array" if isinstance(value, list | tuple) else "string"


OneOrMore = Annotated[
    Annotated[str, Tag("string")] | Annotated[tuple[str, ...], Field(min_length=1), Tag("array")],
    Discriminator(_array_or_string),
]
"""A text, whatever signs it holds, or a list of them."""


def parsable(text: str) -> str:
    """Return an expression of branches; raise ConfigError if it is none."""
    from inferno_cli.expressions import parse

    return parse(text).text


ExpressionText = Annotated[str, AfterValidator(parsable)]
"""An expression of branches, see ``inferno_cli.expressions``."""


def drawable(text: str) -> str:
    """Return a text for plots; raise ValueError if it has signs that cannot be shown, or a formula that is none.

    matplotlib reads what is between two "$" as a formula. One that it cannot read would end a run at its plots.
    """
    if not text.isprintable():
        raise ValueError(f"the text {text!r} has signs that cannot be shown; remove them")
    if "$" in text:
        from matplotlib.mathtext import MathTextParser

        try:
            MathTextParser("path").parse(text)
        except ValueError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(
                f"matplotlib cannot read the formula in '{text}' ({reason}); write it as mathtext, such as "
                r"$\tau_h$, and a dollar sign as \$"
            ) from error
    return text


def colour(text: str) -> str:
    """Return a colour; raise ValueError if it is none that matplotlib knows."""
    from matplotlib.colors import is_color_like

    if not is_color_like(text):
        raise ValueError(f"{text!r} is no colour; expected one such as '#3f90da' or 'darkorange'")
    return text


Shown = Annotated[str, AfterValidator(drawable)]
"""A text on plots, with formulas between "$" as matplotlib reads them."""
Colour = Annotated[str, AfterValidator(colour)]
"""A colour of plots."""


def with_unit(title: str, unit: str | None) -> str:
    """Return what stands below an axis."""
    return f"{title} [{unit}]".strip() if unit else title


POI = "mu"
REGION = "SR"
"""The channel of a run."""
EMBEDDED = "embedded"
"""Stands for the path of the sample that is shipped with the package."""


LONGEST_NAME = 100
"""Letters in the name of a sample, a systematic and the like."""


def require_name(name: str, key: str) -> None:
    """Raise ValueError for a name that is empty, too long, or has signs that cannot be shown or blanks at its ends."""
    if not name.strip():
        raise ValueError(f"{key}: {name!r} is no name; write one with letters")
    if name != name.strip():
        raise ValueError(f"{key}: the name {name!r} begins or ends with a blank; remove it")
    if not name.isprintable():
        signs = ", ".join(dict.fromkeys(repr(sign) for sign in name if not sign.isprintable()))
        raise ValueError(f"{key}: the name {name!r} has signs that cannot be shown ({signs}); remove them")
    if len(name) > LONGEST_NAME:
        raise ValueError(
            f"{key}: the name {name[:30]!r}... has {len(name)} letters, at most {LONGEST_NAME} are possible; shorten it"
        )


def require_group(name: str, key: str) -> None:
    """Raise ValueError for the name of a group of parameters that is none, or that of what no group has a part in."""
    require_name(name, key)
    if name == "statistical":
        raise ValueError(f"{key}: {name!r} is what is left of the error without all groups; rename the group")


class Section(BaseModel):
    """A part of the configuration: frozen, strict, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())
