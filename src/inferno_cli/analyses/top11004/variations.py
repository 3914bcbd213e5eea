"""Shifted events: energies rescaled, the missing momentum with them; the selection is run on the result again."""

from __future__ import annotations

import awkward as ak
import numpy as np

from inferno_cli.analyses.top11004.kinematics import Array, as_float64, nearest
from inferno_cli.analyses.top11004.settings import Curve, Variations


def interpolated(curve: Curve, values: Array) -> Array:
    """Value of a curve at each element of a jagged array."""
    counts = ak.num(values)
    flat = np.interp(ak.to_numpy(as_float64(ak.flatten(values))), curve.x, curve.y)
    return ak.unflatten(flat, counts)


def jet_factor(jets: Array, name: str, sign: int, settings: Variations) -> Array:
    """What the energy of each jet is multiplied by under jes or jer, shape (n_events, var).

    The energy scale is (1 +- uncertainty). The resolution stretches or shrinks the distance to the energy of the
    matched generated jet: the hybrid method without its random part. Where ``gen_pt`` is 0 there is none, and the jet
    stays as it is.
    """
    pt, eta = as_float64(jets["pt"]), np.abs(as_float64(jets["eta"]))
    if name == "jes":
        return 1 + sign * (interpolated(settings.jes, pt) + settings.jes_eta_slope * eta)
    gen_pt = as_float64(jets["gen_pt"])
    change = sign * interpolated(settings.jer, eta)
    # Ten per cent is left of a jet that the shift would turn negative.
    return ak.where(gen_pt > 0, np.maximum(1 + change * (pt - gen_pt) / pt, 0.1), 1.0)


def scaled(objects: Array, factor: Array) -> Array:
    """Objects with their energy and momentum multiplied."""
    pt, mass = as_float64(objects["pt"]) * factor, as_float64(objects["mass"]) * factor
    return ak.with_field(ak.with_field(objects, pt, "pt"), mass, "mass")


def vary(events: Array, name: str, direction: str, settings: Variations, cleaning_radius: float) -> Array:
    """Shift events by one standard deviation.

    A jet that is an identified tau keeps its energy in the missing momentum under jes and jer: the tau energy has an
    uncertainty of its own.

    Args:
        events: As in ``select``; jets with ``gen_pt`` for jer.
        name: jes, jer or taue.
        direction: up or down.
        settings: Sizes.
        cleaning_radius: Nearer than this to an identified tau, a jet is the tau.
    """
    sign = {"up": 1, "down": -1}[direction]
    if name not in ("jes", "jer", "taue"):
        raise ValueError(f"unknown variation {name!r}; known: jes, jer, taue")
    key = "taus" if name == "taue" else "jets"
    before = events[key]
    if name == "taue":
        after = scaled(before, 1 + sign * settings.taue)
        moves = ak.ones_like(as_float64(before["pt"]))
    else:
        after = scaled(before, jet_factor(before, name, sign, settings))
        moves = nearest(before, events["taus"]) > cleaning_radius
    met = events["met"]
    phi = as_float64(before["phi"])
    change = (after["pt"] - as_float64(before["pt"])) * moves
    met_pt, met_phi = as_float64(met["pt"]), as_float64(met["phi"])
    x = met_pt * np.cos(met_phi) - ak.sum(change * np.cos(phi), axis=1)
    y = met_pt * np.sin(met_phi) - ak.sum(change * np.sin(phi), axis=1)
    shifted = ak.zip({"pt": np.hypot(x, y), "phi": np.arctan2(y, x)})
    return ak.with_field(ak.with_field(events, after, key), shifted, "met")
