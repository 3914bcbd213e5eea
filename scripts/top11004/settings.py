"""What is generated and with which detector: every number of the simulation that is a choice.

A change of anything here changes the key of the stored parts, so that a resumed production never mixes settings.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from inferno_cli.analyses.top11004.settings import Selection, Variations

LABEL = "simulated stand-in, not CMS data"
"""Every table, plot and log made from the file says so."""
GENERATOR = (
    "Beams:eCM = 7000.",
    "Tune:pp = 5",  # 4C
    "PDF:pSet = 8",  # CTEQ6L1, which 4C was tuned with
    "PartonLevel:MPI = off",  # four times faster; the few soft GeV under a jet are in the detector's smearing
)
HARD_TOP = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on")
QCD = (
    "HardQCD:all = on",
    "PhaseSpace:pTHatMin = 70.",
    "PhaseSpace:bias2Selection = on",  # as many events at high pT as at low, with weights that undo it
    "PhaseSpace:bias2SelectionPow = 2.",
    "TimeShower:pTmin = 1.0",  # three times faster; clustering undoes the softest branchings anyway
)
V_JETS = ("PhaseSpace:pTHatMin = 60.", "PhaseSpace:bias2Selection = on", "PhaseSpace:bias2SelectionPow = 2.5")
W_JETS = ("WeakBosonAndParton:qqbar2Wg = on", "WeakBosonAndParton:qg2Wq = on", *V_JETS)
Z_JETS = (
    "WeakBosonAndParton:qqbar2gmZg = on",
    "WeakBosonAndParton:qg2gmZq = on",
    "WeakZ0:gmZmode = 2",
    *V_JETS,
)
TAU_TO_HADRONS = ("15:offIfAny = 11 13",)
HADRONIC_TAU = 0.648
"""Branching fraction of tau to hadrons; Pythia's cross-section does not know that the other channels are closed."""


@dataclass(frozen=True)
class Process:
    """One generated process.

    Attributes:
        sample: Tree that it goes to.
        lines: Pythia's settings.
        share: Events that pass the parton-level cut, in units of ``--events``.
        factor: Multiplies Pythia's cross-section: branching fractions that it does not know, K factors.
        veto_signal: Leave out events with exactly one hadronic tau and one W to quarks, which are the signal.
        drop_b: Ignore the jets of one of the two b quarks (the stand-in for tW, see the README).
        smearings: Detector responses of each event.
        chunk: Size of its parts, relative to the others: smaller where few events pass the parton-level cut.
    """

    sample: str
    lines: tuple[str, ...]
    share: float
    factor: float = 1.0
    veto_signal: bool = False
    drop_b: bool = False
    smearings: int = 1
    chunk: float = 1.0


def _w(sign: str, *channels: str) -> tuple[str, ...]:
    """Open channels of the W of one charge, or of both."""
    return tuple(f"24:on{sign}IfAny = {channel}" for channel in channels)


QUARKS = "1 2 3 4 5"
LEPTONS = "11 13 15"
ST_T = ("Top:qq2tq(t:W) = on",)
TW_OVER_TT = 15.7 / 172.0
PROCESSES = {
    # The W of one charge to a tau, the other to quarks; the mirror image is a process of its own.
    "tt_signal_plus": Process(
        "TTJets_signal",
        (*HARD_TOP, "24:onMode = off", *_w("Pos", "15"), *_w("Neg", QUARKS), *TAU_TO_HADRONS),
        2.5,
        HADRONIC_TAU,
    ),
    "tt_signal_minus": Process(
        "TTJets_signal",
        (*HARD_TOP, "24:onMode = off", *_w("Neg", "15"), *_w("Pos", QUARKS), *TAU_TO_HADRONS),
        2.5,
        HADRONIC_TAU,
    ),
    # The other top pairs, by what the two W bosons do: a real tau in a few of them weighs as much as all the fakes.
    "tt_dilepton": Process("TTJets_bkg", (*HARD_TOP, "24:onMode = off", *_w("", LEPTONS)), 0.4),
    "tt_lepton_plus": Process(
        "TTJets_bkg",
        (*HARD_TOP, "24:onMode = off", *_w("Pos", LEPTONS), *_w("Neg", QUARKS)),
        0.2,
        veto_signal=True,
    ),
    "tt_lepton_minus": Process(
        "TTJets_bkg",
        (*HARD_TOP, "24:onMode = off", *_w("Neg", LEPTONS), *_w("Pos", QUARKS)),
        0.2,
        veto_signal=True,
    ),
    "tt_hadronic": Process("TTJets_bkg", (*HARD_TOP, "24:onMode = off", *_w("", QUARKS)), 0.5),
    "w_tau": Process("WZJets", (*W_JETS, "24:onMode = off", "24:onIfAny = 15", *TAU_TO_HADRONS), 0.6, HADRONIC_TAU),
    "w_rest": Process("WZJets", (*W_JETS, "24:onMode = off", "24:onIfAny = 11 13"), 0.05, chunk=0.5),
    "z_tau": Process("WZJets", (*Z_JETS, "23:onMode = off", "23:onIfAny = 15"), 0.15),
    "z_nu": Process("WZJets", (*Z_JETS, "23:onMode = off", "23:onIfAny = 12 14 16"), 0.03, chunk=0.2),
    # tW: top pairs with one b ignored, 15.7 pb of the 172 pb of top pairs at 7 TeV (both NNLL)
    "st_t_tau": Process("STJets", (*ST_T, "24:onMode = off", *_w("", "15"), *TAU_TO_HADRONS), 0.3, HADRONIC_TAU),
    "st_t_rest": Process("STJets", (*ST_T, "24:onMode = off", *_w("", f"{QUARKS} 11 13")), 0.15),
    "st_s": Process("STJets", ("Top:ffbar2tqbar(s:W) = on",), 0.05),
    "st_tw_plus": Process(
        "STJets",
        (*HARD_TOP, "24:onMode = off", *_w("Pos", "15"), *_w("Neg", QUARKS), *TAU_TO_HADRONS),
        0.15,
        HADRONIC_TAU * TW_OVER_TT,
        drop_b=True,
    ),
    "st_tw_minus": Process(
        "STJets",
        (*HARD_TOP, "24:onMode = off", *_w("Neg", "15"), *_w("Pos", QUARKS), *TAU_TO_HADRONS),
        0.15,
        HADRONIC_TAU * TW_OVER_TT,
        drop_b=True,
    ),
    "st_tw_rest": Process("STJets", HARD_TOP, 0.15, TW_OVER_TT, veto_signal=True, drop_b=True),
    "qcd": Process("QCD", QCD, 3.0, smearings=2),
    "qcd_data": Process("Data", QCD, 1.0, smearings=6),
}
"""By name; the order is the order of production."""


@dataclass(frozen=True)
class Detector:
    """The parametric detector: a CMS of 2011 in a few lines. GeV."""

    # Jets: sigma(pT) / pT = noise / pT + stochastic / sqrt(pT) + constant, in quadrature
    jet_noise: float = 4.0
    jet_stochastic: float = 0.8
    jet_constant: float = 0.05
    jet_tail_eta: float = 0.1
    """The resolution grows by this share per unit of |eta|."""
    # Missing momentum, each component: what is not in jets
    met_constant: float = 5.0
    met_per_vertex: float = 2.4
    """Times the square root of the number of vertices."""
    mean_vertices: float = 8.2
    # Hadronic taus
    tau_pt_min: float = 38.0
    tau_resolution: float = 0.04
    tau_efficiency: float = 0.4
    fake_energy: float = 0.92
    """Share of a jet's energy in the narrow cone of the tau that it fakes."""
    fake_spread: float = 0.06
    fake_rate: float = 0.004
    """Of a light-quark jet at 45 GeV; it falls as a power of pT."""
    fake_power: float = 0.5
    fake_gluon: float = 0.4
    """Times the rate of light quarks."""
    fake_heavy: float = 0.6
    fake_electron: float = 0.03
    # Leptons: probability to be seen by the veto above pT 10
    electron_efficiency: float = 0.85
    muon_efficiency: float = 0.95
    # b tags: efficiencies at the medium working point, and their relative uncertainties
    tag_b: float = 0.68
    tag_c: float = 0.17
    tag_light: float = 0.014
    tag_b_error: float = 0.03
    tag_c_error: float = 0.06
    tag_light_error: float = 0.12
    mistag_control: float = 0.014
    """Rate per jet that carries the control sample over to the tagged region (btag_weight2); 10% uncertain."""
    mistag_control_error: float = 0.10
    # Trigger: tau and three jets
    trigger_plateau: float = 0.85
    trigger_turn_on: tuple[float, float] = (47.0, 14.0)
    """Of each of three jets: pT at half height, width."""
    trigger_tau_turn_on: tuple[float, float] = (43.0, 14.0)


SELECTION = {
    "jets": {
        "pt_min": 20.0,
        "eta_max": 2.4,
        "count": 4,
        "lead_count": 3,
        "lead_pt_min": 45.0,
        "cleaning_radius": 0.5,
    },
    "taus": {"pt_min": 45.0, "eta_max": 2.3},
    "electrons": {"pt_min": 15.0, "eta_max": 2.5},
    "muons": {"pt_min": 10.0, "eta_max": 2.4},
    "met_min": 20.0,
    "b_tags": [0, None],  # tags are weights here
}
VARIATIONS = {
    "run": ["jes", "jer", "taue"],
    # Larger than CMS in 2011; see the README
    "jes": {"x": [20.0, 30.0, 50.0, 100.0, 200.0], "y": [0.060, 0.046, 0.035, 0.026, 0.020]},
    "jes_eta_slope": 0.005,
    "jer": {"x": [0.0, 1.1, 1.7, 2.3, 5.0], "y": [0.06, 0.06, 0.10, 0.15, 0.25]},
    "taue": 0.03,
}
YIELDS = {"TTJets_signal": 313.61, "TTJets_bkg": 120.69, "WZJets": 57.32, "STJets": 27.19, "QCD": 2421.65}
"""Published expected events after the factor 0.9 (arXiv:2301.10358 and its code), as docs/open_data.md has them."""
YIELD_FACTOR = 0.9
CROSS_SECTION_ERROR = {"TTJets_signal": 0.061, "TTJets_bkg": 0.061, "WZJets": 0.048, "STJets": 0.067}
QCD_FACTOR = 4.0
ROWS = {"TTJets_signal": 14000, "TTJets_bkg": 4000, "WZJets": 2500, "STJets": 2000, "QCD": 9000}
"""Nominal rows of each sample in a full production; a smaller one has as many as it makes."""
PSEUDO_DATA_EVERY = 8
"""One event in so many is set aside for the pseudo-data, and is not in the simulated samples."""


@dataclass(frozen=True)
class Cuts:
    """Cuts before the detector; each must be loose enough that nothing that passes the selection is lost to it."""

    parton_jets: tuple[tuple[int, float], ...] = ((4, 34.0), (5, 14.0))
    """(number, pT): parton jets in |eta| < 2.9, before hadronisation; the tau is one of them."""
    particle_jets: tuple[tuple[int, float], ...] = ((4, 30.0), (5, 12.0))
    radius: float = 0.5


@dataclass(frozen=True)
class Settings:
    """Everything that the content of a part depends on, beside its seed and number."""

    seed: int
    chunk: int = 2000
    """Events past the parton-level cut in one part."""
    detector: Detector = field(default_factory=Detector)
    cuts: Cuts = field(default_factory=Cuts)

    def events_in_part(self, process: str) -> int:
        """Events past the parton-level cut in one part of a process."""
        return max(1, round(self.chunk * PROCESSES[process].chunk))

    @property
    def selection(self) -> Selection:
        """The selection, checked."""
        return Selection.model_validate_json(json.dumps(SELECTION))

    @property
    def variations(self) -> Variations:
        """The variations, checked."""
        return Variations.model_validate_json(json.dumps(VARIATIONS))

    def record(self) -> dict[str, object]:
        """All of it, as plain values."""
        return {
            "seed": self.seed,
            "chunk": self.chunk,
            "generator": list(GENERATOR),
            "processes": {name: asdict(process) for name, process in PROCESSES.items()},
            "detector": asdict(self.detector),
            "cuts": asdict(self.cuts),
            "selection": SELECTION,
            "variations": VARIATIONS,
        }

    def key(self, process: str) -> str:
        """Short name of the settings of one process, for the names of its parts."""
        own = {key: value for key, value in asdict(PROCESSES[process]).items() if key != "share"}
        record = {**self.record(), "processes": own}
        return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:12]
