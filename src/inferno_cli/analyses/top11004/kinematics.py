"""Momenta and angles of arrays of objects with the fields ``pt``, ``eta``, ``phi`` and ``mass`` (GeV, rad).

Plain formulas with numpy's functions, which awkward arrays of any depth take, always in float64: files hold float32,
and the square root of a difference of large numbers loses half of their digits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import awkward as ak
import numpy as np

Array = Any
"""An awkward array or a numpy array."""


class Momentum(NamedTuple):
    """Components of momenta, each of the shape of the objects."""

    px: Array
    py: Array
    pz: Array
    energy: Array


def as_float64(values: Array) -> Array:
    """Return the same numbers in double precision."""
    return ak.values_astype(values, np.float64)


def momentum(objects: Array) -> Momentum:
    """Cartesian momentum and energy."""
    pt, eta, phi, mass = (as_float64(objects[name]) for name in ("pt", "eta", "phi", "mass"))
    pz = pt * np.sinh(eta)
    return Momentum(pt * np.cos(phi), pt * np.sin(phi), pz, np.sqrt(pt**2 + pz**2 + mass**2))


def delta_phi(first: Array, second: Array) -> Array:
    """Difference of azimuths, in [-pi, pi)."""
    return (first - second + np.pi) % (2 * np.pi) - np.pi


def nearest(objects: Array, others: Array) -> Array:
    """Distance in (eta, phi) of each object (n_events, var) to the nearest of the others in its event.

    It is infinite where an event has none of the others.
    """
    pairs = ak.cartesian({"one": objects, "other": others}, nested=True)
    d_eta = as_float64(pairs["one"]["eta"]) - as_float64(pairs["other"]["eta"])
    d_phi = delta_phi(as_float64(pairs["one"]["phi"]), as_float64(pairs["other"]["phi"]))
    distance = ak.min(np.hypot(d_eta, d_phi), axis=-1)
    return ak.fill_none(distance, np.inf)
