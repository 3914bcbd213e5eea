"""A kernel method, the authors' next step for speed (arXiv:2204.02317): convex, with one minimum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from inferno_cli.nplm.models import Alternative
from inferno_cli.section import Positive

if TYPE_CHECKING:
    import numpy as np

    from inferno_cli.events.sample import FloatArray
    from inferno_cli.nplm.models import Exponent


class KernelAlternative(Alternative):
    """A sum of Gaussians about events of the reference, with a penalty on its norm."""

    kind: Literal["kernel"]
    """A kernel method."""
    centres: Annotated[int, Field(ge=2)]
    """Number of Gaussians (Nystroem's centres), drawn from the reference."""
    width: Positive | None = None
    """Width of a Gaussian in standard deviations of the features; null: 90% quantile of the distances of events."""
    penalty: Positive
    """Strength of the penalty on the norm of f, in events of the data."""

    def build(self, reference: FloatArray, rng: np.random.Generator, device: str) -> Exponent:
        """Draw the centres, and return the sum."""
        from inferno_cli.nplm.gaussians import Gaussians

        return Gaussians.drawn(reference, rng, self.centres, self.width, self.penalty, device)
