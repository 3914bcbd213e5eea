"""What MINUIT says of a minimum."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Whether a minimum is valid, the estimated distance to it (EDM, in -2 ln L), and how small that must be.

    Parameters at their limits are held there.
    """

    is_valid: bool
    edm: float
    edm_goal: float
