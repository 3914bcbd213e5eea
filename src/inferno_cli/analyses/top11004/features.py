"""The eight features of TOP-11-004, as pure functions of the tau, the jets and the missing momentum."""

from __future__ import annotations

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from inferno_cli.analyses.top11004.kinematics import Array, as_float64, delta_phi, momentum

FEATURES = ("aplanarity", "chargeEta", "MET_met", "deltaPhiTauMet", "mt", "mTauJet", "ht", "sphericity")


def momentum_tensor(px: Array, py: Array, pz: Array) -> NDArray[np.float64]:
    """Normalised momentum tensor of the objects (n_events, var) of each event, sum of p_i p_j / sum of p^2.

    Its shape is (n_events, 3, 3), its trace 1.
    """
    components = (px, py, pz)
    tensor = np.empty((len(px), 3, 3))
    for i in range(3):
        for j in range(i, 3):
            tensor[:, i, j] = tensor[:, j, i] = ak.to_numpy(ak.sum(components[i] * components[j], axis=1))
    normalised: NDArray[np.float64] = tensor / np.trace(tensor, axis1=1, axis2=2)[:, None, None]
    return normalised


def event_shapes(px: Array, py: Array, pz: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Aplanarity (0 to 0.5) and sphericity (0 to 1), each of shape (n_events,).

    1.5 times the smallest eigenvalue of the momentum tensor, and 1.5 times the sum of the two smallest.
    """
    if not len(px):
        return np.empty(0), np.empty(0)
    eigenvalues = np.linalg.eigvalsh(momentum_tensor(px, py, pz))
    # Rounding may leave the smallest eigenvalue of a plane event at -1e-17.
    eigenvalues = np.clip(eigenvalues, 0, 1)
    return 1.5 * eigenvalues[:, 0], 1.5 * (eigenvalues[:, 0] + eigenvalues[:, 1])


def features(tau: Array, jets: Array, met: Array) -> dict[str, NDArray[np.float32]]:
    """Features of selected events.

    Args:
        tau: The tau of each event, shape (n_events,), with pt, eta, phi, mass, charge.
        jets: Its jets, without the tau, shape (n_events, var), with pt, eta, phi, mass.
        met: Missing transverse momentum, shape (n_events,), with pt, phi.

    Returns:
        One array of shape (n_events,) for each name in FEATURES; GeV, rad.
    """
    tau_p, jet_p = momentum(tau), momentum(jets)
    px, py, pz = (ak.concatenate([jet_p[i], tau_p[i][:, np.newaxis]], axis=1) for i in range(3))
    aplanarity, sphericity = event_shapes(px, py, pz)
    energy = ak.sum(jet_p.energy, axis=1) + tau_p.energy
    squared = energy**2 - ak.sum(px, axis=1) ** 2 - ak.sum(py, axis=1) ** 2 - ak.sum(pz, axis=1) ** 2
    met_pt = as_float64(met["pt"])
    d_phi = np.abs(delta_phi(as_float64(tau["phi"]), as_float64(met["phi"])))
    # E_T = E sin(theta)
    transverse_energy = jet_p.energy / np.cosh(as_float64(jets["eta"]))
    values = {
        "aplanarity": aplanarity,
        "chargeEta": tau["charge"] * np.abs(as_float64(tau["eta"])),
        "MET_met": met_pt,
        "deltaPhiTauMet": d_phi,
        "mt": np.sqrt(2 * as_float64(tau["pt"]) * met_pt * (1 - np.cos(d_phi))),
        "mTauJet": np.sqrt(np.maximum(squared, 0)),
        "ht": ak.sum(transverse_energy, axis=1),
        "sphericity": sphericity,
    }
    return {name: np.asarray(ak.to_numpy(values[name]), dtype=np.float32) for name in FEATURES}
