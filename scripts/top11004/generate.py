"""Pythia: events that pass a cut on parton-level jets, as jets of stable particles with what they truly are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
import pythia8mc

from top11004.settings import GENERATOR, PROCESSES, Settings

GLUON, LIGHT, CHARM, BOTTOM, ELECTRON, MUON, TAU = 21, 1, 4, 5, 11, 13, 15
PDF_NOMINAL, PDF_OTHERS = 8, (5, 13)
"""Pythia's numbers of CTEQ6L1, MSTW 2008 LO and NNPDF 2.3 LO."""


class PartonCut(pythia8mc.UserHooks):  # type: ignore[misc]
    """Ends an event before hadronisation, which is half of its cost, unless its partons make the jets that we need."""

    def __init__(self, pythia: Any, cuts: tuple[tuple[int, float], ...], radius: float) -> None:
        super().__init__()
        self.pythia = pythia
        self.cuts = cuts
        self.tried = 0
        self.tried_weight = 0.0
        self.jets = pythia8mc.SlowJet(-1, radius, min(pt for _, pt in cuts), 2.9, 2, 1)
        self.partons: list[tuple[int, float, float, float]] = []
        self.leptons: list[int] = []
        self.bottoms: list[tuple[float, float]] = []

    def canVetoPartonLevel(self) -> bool:
        """Tell Pythia to ask."""
        return True

    def doVetoPartonLevel(self, event: Any) -> bool:
        """Veto, or note the partons and leptons, whose places in the record stay the same later."""
        self.tried += 1
        self.tried_weight += self.pythia.infoPython().weight()
        self.jets.analyze(event)
        if not enough(self.jets, self.cuts):
            return True
        self.partons, self.leptons, self.bottoms = [], [], []
        for index, particle in enumerate(event):
            kind = particle.idAbs()
            if particle.isFinal():
                if (kind <= 5 or kind == 21) and (pt := particle.pT()) > 4:
                    self.partons.append((kind, pt, particle.eta(), particle.phi()))
                elif kind in (ELECTRON, MUON, TAU):
                    self.leptons.append(index)
            elif kind == BOTTOM and event[particle.mother1()].idAbs() == 6:
                last = event[particle.iBotCopyId()]
                self.bottoms.append((last.eta(), last.phi()))
        return False


def enough(jets: Any, cuts: tuple[tuple[int, float], ...]) -> bool:
    """Whether there are so many jets above each pT."""
    n = jets.sizeJet()
    return all(n >= number and jets.pT(number - 1) > pt for number, pt in cuts)


def distance(eta: float, phi: float, other: tuple[float, float]) -> float:
    """Distance in (eta, phi)."""
    return math.hypot(eta - other[0], math.remainder(phi - other[1], 2 * math.pi))


@dataclass
class Columns:
    """Events being collected."""

    jets: list[tuple[float, ...]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    events: list[tuple[float, ...]] = field(default_factory=list)


JET_FIELDS = ("pt", "eta", "phi", "mass", "kind", "charge", "vis_pt", "vis_eta", "vis_phi", "vis_mass")
EVENT_FIELDS = ("number", "weight", "met_x", "met_y", "n_tau_had", "n_quark_w", "id1", "id2", "x1", "x2", "scale")


def generate(name: str, settings: Settings, seed: int) -> tuple[ak.Array, dict[str, float]]:
    """Generate one part of a process.

    Args:
        name: Of the process.
        settings: Cuts and number of events.
        seed: Of the generator, below 900 million.

    Returns:
        Events with ``jets`` of stable particles (anti-kT, pT > 10 GeV) and the true missing momentum, and
        {cross-section in pb of all that was tried, the sum of its weights, and how many events were accepted}.
    """
    process, cuts = PROCESSES[name], settings.cuts
    pythia = pythia8mc.Pythia("", False)
    for line in ("Print:quiet = on", "Random:setSeed = on", f"Random:seed = {seed}", *GENERATOR, *process.lines):
        if not pythia.readString(line):
            raise ValueError(f"{name}: Pythia does not know {line!r}")
    hook = PartonCut(pythia, cuts.parton_jets, cuts.radius)
    pythia.addUserHooksPtr(hook)
    if not pythia.init():
        raise RuntimeError(f"{name}: Pythia cannot start with these settings")
    jets = pythia8mc.SlowJet(-1, cuts.radius, 1.0, 5.0, 2, 1)
    rng = np.random.default_rng([seed, 1])
    columns = Columns()
    accepted = 0
    while accepted < settings.events_in_part(name):
        if not pythia.next():
            continue
        accepted += 1
        event = pythia.event
        jets.analyze(event)
        if not enough(jets, cuts.particle_jets):
            continue
        _collect(columns, accepted, event, jets, hook, pythia.infoPython(), rng if process.drop_b else None)
    info = pythia.infoPython()
    # sigmaGen is the unbiased cross-section times the share of the *biased* events that is accepted.
    total = info.sigmaGen() * 1e9 * process.factor * hook.tried / accepted
    record = {"cross_section_pb": total, "tried_weight": hook.tried_weight, "accepted": float(accepted)}
    table = np.array(columns.events).reshape(-1, len(EVENT_FIELDS))
    flat = np.array(columns.jets).reshape(-1, len(JET_FIELDS))
    events = ak.zip({key: table[:, i] for i, key in enumerate(EVENT_FIELDS)}, depth_limit=1)
    objects = ak.zip({key: flat[:, i] for i, key in enumerate(JET_FIELDS)})
    events["jets"] = ak.unflatten(objects, np.array(columns.counts, dtype=np.int64))
    if process.veto_signal:
        events = events[(events["n_tau_had"] != 1) | (events["n_quark_w"] != 1)]
    if process.sample.startswith("TTJets"):
        events["pdf"] = pdf_spread(events)
    return events, record


def _collect(
    columns: Columns, number: int, event: Any, jets: Any, hook: PartonCut, info: Any, drop_b: np.random.Generator | None
) -> None:
    """Add one event."""
    taus, leptons, n_tau_had = [], [], 0
    for index in hook.leptons:
        particle = event[index]
        if particle.idAbs() != TAU:
            leptons.append((particle.idAbs(), particle.pT(), particle.eta(), particle.phi(), particle.charge()))
            continue
        visible, hadronic = pythia8mc.Vec4(), True
        for daughter in event[index].daughterListRecursive():
            other = event[daughter]
            if not other.isFinal():
                continue
            if other.idAbs() in (ELECTRON, MUON) and event[other.mother1()].idAbs() == TAU:
                leptons.append((other.idAbs(), other.pT(), other.eta(), other.phi(), other.charge()))
                hadronic = False
            elif other.isVisible():
                visible += other.p()
        if hadronic:
            n_tau_had += 1
            taus.append((visible, particle.charge()))
    dropped = hook.bottoms[int(drop_b.integers(len(hook.bottoms)))] if drop_b is not None and hook.bottoms else None
    x = y = 0.0
    count = 0
    for i in range(jets.sizeJet()):
        p = jets.p(i)
        x, y = x - p.px(), y - p.py()
        pt, eta, phi = p.pT(), p.eta(), p.phi()
        if pt < 10 or (dropped is not None and distance(eta, phi, dropped) < 0.5):
            continue
        kind, charge, vis = _truth(event, jets, i, hook, taus, leptons, p)
        columns.jets.append((pt, eta, phi, p.mCalc(), kind, charge, vis.pT(), vis.eta(), vis.phi(), vis.mCalc()))
        count += 1
    quark_w = sum(1 for p in event if p.idAbs() == 24 and event[p.daughter1()].idAbs() <= BOTTOM)
    columns.counts.append(count)
    columns.events.append(
        (number, info.weight(), x, y, n_tau_had, quark_w, info.id1(), info.id2(), info.x1(), info.x2(), info.QFac())
    )


def _truth(
    event: Any, jets: Any, i: int, hook: PartonCut, taus: list[Any], leptons: list[Any], p: Any
) -> tuple[int, float, Any]:
    """What a jet is, its charge, and the momentum that a tau made of it has."""
    pt, eta, phi = p.pT(), p.eta(), p.phi()
    for visible, charge in taus:
        if visible.pT() > 0.5 * pt and distance(eta, phi, (visible.eta(), visible.phi())) < 0.3:
            return TAU, charge, visible
    for kind, lepton_pt, lepton_eta, lepton_phi, charge in leptons:
        if lepton_pt > 0.5 * pt and distance(eta, phi, (lepton_eta, lepton_phi)) < 0.3:
            return kind, charge, p
    charge = 0.0
    if pt > 30:
        charged = [event[k] for k in jets.constituents(i)]
        charged = [q for q in charged if q.isCharged()]
        charge = max(charged, key=lambda q: float(q.pT())).charge() if charged else 0.0
    inside = [parton for parton in hook.partons if distance(eta, phi, parton[2:]) < 0.4]
    kinds = {parton[0] for parton in inside}
    for heavy in (BOTTOM, CHARM):
        if heavy in kinds:
            return heavy, charge, p
    leading = max(inside, key=lambda parton: parton[1], default=(GLUON,))
    return (GLUON if leading[0] == GLUON else LIGHT), charge, p


def pdf_spread(events: ak.Array) -> np.ndarray:
    """Half of the larger relative change of the event's weight with another leading-order PDF set, shape (n_events,).

    Taken with the set's mean over these events divided out: a change of the shape, as eigenvectors make it.
    """
    columns = [ak.to_numpy(events[key]) for key in ("id1", "x1", "id2", "x2", "scale")]

    def luminosity(pdf_set: int) -> np.ndarray:
        pythia = pythia8mc.Pythia("", False)
        for line in ("Print:quiet = on", f"PDF:pSet = {pdf_set}", "HardQCD:all = on", "PartonLevel:all = off"):
            pythia.readString(line)
        pythia.init()
        pdf = pythia.getPDFPtr(2212)
        rows = zip(*columns, strict=True)
        return np.array([pdf.xf(int(i1), x1, q * q) * pdf.xf(int(i2), x2, q * q) for i1, x1, i2, x2, q in rows])

    base = luminosity(PDF_NOMINAL)
    ratios = [luminosity(pdf_set) / base for pdf_set in PDF_OTHERS]
    return 0.5 * np.max([np.abs(ratio / ratio.mean() - 1) for ratio in ratios], axis=0)
