"""An invented search for X -> S H in the plane of two masses, on a falling background: a stand-in, of no experiment.

A particle of mass m_X decays to one of mass m_S, which is seen as two b jets, and a Higgs boson, which is seen as two
photons. The features are the mass of everything and that of the b jets. A jet that is measured too low takes both
down; one event in eight has a wrong pair of jets. Of the search that it stands for (N. Simpson's thesis, chapter 9) no
event and no number is public: resolutions, background and yields are made up, and labelled so.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from inferno_cli.events.grid import GridDataset, Values
from inferno_cli.section import Names, Positive

HIGGS = 125.0
"""Mass of the Higgs boson in GeV: below m_S + HIGGS there is no decay, and no signal."""
RESOLUTION_BB, RESOLUTION = 0.10, 0.015
"""Relative resolution of m_bb, and that of m_bbyy but for what m_bb brings."""
WRONG, WIDE = 0.125, 0.35
"""Share of events with a wrong pair of jets, and its relative resolution of m_bb."""
LOWEST_BB, LOWEST_YY = 40.0, 105.0
"""Least masses of two jets and of two photons in the background in GeV."""
AT_THRESHOLD, TURN_ON = 0.2, 120.0
"""Selected share at the threshold, and the scale in GeV on which the rest follows."""


class ResonanceDataset(GridDataset):
    """Two masses with their resolution on a falling background: invented."""

    kind: Literal["resonance"]
    """An invented search for two resonances."""
    slopes: tuple[Positive, Positive]
    """Scale in GeV on which the background falls, in m_bb and in what m_bbyy has beyond it."""

    label: ClassVar[str] = "invented resonances, of no experiment"
    features: ClassVar[Names] = ("m_bbyy", "m_bb")
    made_by: ClassVar[Names] = (*GridDataset.made_by, "slopes")

    def check(self) -> None:
        """Refuse other parameters than the two masses."""
        super().check()
        if tuple(self.grid) != ("m_X", "m_S"):
            raise ValueError(f"grid: expected the masses m_X and m_S, found {', '.join(self.grid)}")

    def has_signal(self, at: Values) -> bool:
        """Return whether the decay is possible."""
        return at[0] > at[1] + HIGGS

    def acceptance(self, at: Values) -> float:
        """Return the selected share, which rises from the threshold."""
        return float(1 - (1 - AT_THRESHOLD) * np.exp(-(at[0] - at[1] - HIGGS) / TURN_ON))

    def draw_signal(self, rng: np.random.Generator, n: int, at: Values) -> NDArray[np.float64]:
        """Draw both masses."""
        m_x, m_s = at
        resolution = np.where(rng.random(n) < WRONG, WIDE, RESOLUTION_BB)
        m_bb = (m_s * (1 + resolution * rng.normal(size=n))).clip(min=1.0)
        # Two thirds of what the jets are off by is in the mass of everything.
        m_bbyy = m_x + (m_bb - m_s) * 2 / 3 + RESOLUTION * m_x * rng.normal(size=n)
        return np.stack([m_bbyy, m_bb], axis=1)

    def draw_background(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Draw both masses, falling from a threshold."""
        m_bb = LOWEST_BB + rng.exponential(self.slopes[0], size=n)
        m_bbyy = m_bb + LOWEST_YY + rng.gamma(2.0, self.slopes[1] / 2, size=n)
        return np.stack([m_bbyy, m_bb], axis=1)
