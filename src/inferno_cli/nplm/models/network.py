"""A small network with bounded weights, the published choice (arXiv:1912.12155)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from inferno_cli.nplm.models import Alternative
from inferno_cli.section import Positive

if TYPE_CHECKING:
    import numpy as np

    from inferno_cli.events.sample import FloatArray
    from inferno_cli.nplm.models import Exponent


class NetworkAlternative(Alternative):
    """Hidden layers of sigmoids and one linear output."""

    has_clip: ClassVar[bool] = True
    kind: Literal["network"]
    """A network."""
    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    """Units of each hidden layer."""
    clip: Positive | Literal["tune"]
    """Largest absolute weight; biases are free. `tune`: that at which the median of t is that of chi2."""
    clip_range: tuple[Positive, Positive] = (0.4, 40.0)
    """Where a clip that is tuned is looked for."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.clip_range[0] >= self.clip_range[1]:
            raise ValueError(
                f"clip_range is [{self.clip_range[0]:g}, {self.clip_range[1]:g}]; the first must be smaller"
            )
        return self

    def build(self, reference: FloatArray, rng: np.random.Generator, device: str) -> Exponent:  # noqa: ARG002
        """Return the network; ConfigError where its clip has not been tuned."""
        from inferno_cli.nplm.perceptron import Perceptron

        assert self.clip != "tune"
        return Perceptron((reference.shape[1], *self.hidden, 1), self.clip, device)

    @property
    def clip_to_tune(self) -> tuple[float, float] | None:
        """Range in which the clip is looked for."""
        return self.clip_range if self.clip == "tune" else None

    def clipped(self, clip: float) -> Self:
        """Return the network with a clip."""
        return self.model_copy(update={"clip": clip})
