"""Object and event selection, with the cut flow."""

from __future__ import annotations

from dataclasses import dataclass

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from inferno_cli.analyses.cut_flow import ALL, CutFlow
from inferno_cli.analyses.top11004.kinematics import Array, nearest
from inferno_cli.analyses.top11004.settings import ObjectCuts, Selection


@dataclass(frozen=True)
class Selected:
    """Events that pass, with their selected objects.

    Attributes:
        rows: Which of the events pass, shape (n_selected,).
        tau: The tau of each, shape (n_selected,).
        jets: Its jets, the tau removed, by falling pT, shape (n_selected, var).
        met: Its missing transverse momentum.
        cut_flow: What every cut left.
    """

    rows: NDArray[np.int64]
    tau: Array
    jets: Array
    met: Array
    cut_flow: CutFlow


def passing(objects: Array, cuts: ObjectCuts) -> Array:
    """Objects inside an acceptance, shape (n_events, var)."""
    return objects[(objects["pt"] > cuts.pt_min) & (np.abs(objects["eta"]) < cuts.eta_max)]


def select(events: Array, selection: Selection, weight: NDArray[np.float64] | None = None) -> Selected:
    """Select tau + jets events.

    Args:
        events: Identified objects of each event: ``jets`` (pt, eta, phi, mass, tagged), ``taus`` (with charge),
            ``electrons``, ``muons``, each of shape (n_events, var), and ``met`` (pt, phi) of shape (n_events,).
        selection: Thresholds and counts.
        weight: For the cut flow, shape (n_events,); 1 by default.
    """
    cuts = selection.jets
    taus = passing(events["taus"], selection.taus)
    jets = passing(events["jets"], cuts)
    jets = jets[nearest(jets, taus) > cuts.cleaning_radius]
    jets = jets[ak.argsort(jets["pt"], axis=1, ascending=False, stable=True)]
    low, high = selection.b_tags
    tagged = ak.sum(jets["tagged"], axis=1)
    n_leptons = ak.num(passing(events["electrons"], selection.electrons)) + ak.num(
        passing(events["muons"], selection.muons)
    )
    steps = {
        ALL: np.ones(len(events), dtype=bool),
        f"one tau, pT > {selection.taus.pt_min:g}": ak.num(taus) == 1,
        f"{cuts.lead_count} jets, pT > {cuts.lead_pt_min:g}": ak.sum(jets["pt"] > cuts.lead_pt_min, axis=1)
        >= cuts.lead_count,
        f"{cuts.count} jets, pT > {cuts.pt_min:g}": ak.num(jets) >= cuts.count,
        "no electron or muon": n_leptons == 0,
        f"MET > {selection.met_min:g}": events["met"]["pt"] > selection.met_min,
    }
    if (low, high) != (0, None):
        steps[_tags(low, high)] = (tagged >= low) & (tagged <= (np.inf if high is None else high))
    weight = np.ones(len(events)) if weight is None else weight
    kept = np.ones(len(events), dtype=bool)
    numbers, sums = [], []
    for mask in steps.values():
        kept &= ak.to_numpy(mask)
        numbers.append(int(kept.sum()))
        sums.append(float(weight[kept].sum()))
    return Selected(
        rows=np.flatnonzero(kept),
        tau=ak.firsts(taus[kept]) if not kept.any() else taus[kept][:, 0],
        jets=jets[kept],
        met=events["met"][kept],
        cut_flow=CutFlow(tuple(steps), tuple(numbers), tuple(sums)),
    )


def _tags(low: int, high: int | None) -> str:
    if high is None:
        return f"at least {low} b tags"
    return f"{low} b tags" if low == high else f"{low} to {high} b tags"
