"""The parametric detector: events of stable particles to reconstructed objects, and the weights of tags and trigger."""

from __future__ import annotations

from math import sqrt

import awkward as ak
import numpy as np

from top11004.settings import Detector

GLUON, LIGHT, CHARM, BOTTOM, ELECTRON, MUON, TAU = 21, 1, 4, 5, 11, 13, 15


def reconstruct(truth: ak.Array, detector: Detector, rng: np.random.Generator, smearings: int = 1) -> ak.Array:
    """Smear jets and missing momentum, see leptons or lose them, and identify one jet as the tau.

    Args:
        truth: Generated events, see ``generate``.
        detector: Its numbers.
        rng: All randomness of the detector.
        smearings: How often each event is measured.

    Returns:
        Events as the selection takes them, in the order of the generated ones, with ``jets.gen_pt``,
        ``jets.kind``, ``number``, ``smearing``, ``weight`` (generator's times the probability of exactly one identified
        tau) and ``n_vertices``. Events without a candidate for a tau are left out.
    """
    source = np.repeat(np.arange(len(truth)), smearings)
    truth = truth[source]
    jets = truth["jets"]
    counts = ak.to_numpy(ak.num(jets))
    flat = {name: ak.to_numpy(ak.flatten(jets[name])) for name in jets.fields}
    event = np.repeat(np.arange(len(truth)), counts)
    pt, eta, kind = flat["pt"], np.abs(flat["eta"]), flat["kind"].astype(int)

    response = 1 + jet_resolution(pt, eta, detector) * rng.standard_normal(len(pt))
    lepton = (kind == ELECTRON) | (kind == MUON)
    response = np.where(lepton, 1.0, np.maximum(response, 0.1))
    vertices = 1 + rng.poisson(detector.mean_vertices - 1, len(truth))
    spread = np.hypot(detector.met_constant, detector.met_per_vertex * np.sqrt(vertices))
    noise = spread[:, None] * rng.standard_normal((len(truth), 2))
    # The tau's own jet is measured as the tau is, below.
    seen = np.where(lepton, rng.random(len(pt)) < _lepton_efficiency(kind, pt, eta, detector), False)

    # What the tau made of each jet would look like, and how probable it is that it is identified as one
    true_tau = kind == TAU
    narrow = np.clip(rng.normal(detector.fake_energy, detector.fake_spread, len(pt)), 0.5, 1.0)
    tau_smear = 1 + detector.tau_resolution * rng.standard_normal(len(pt))
    tau_pt = np.where(true_tau, flat["vis_pt"] * tau_smear, pt * response * narrow)
    probability = _tau_probability(kind, tau_pt, detector)
    probability[(tau_pt < detector.tau_pt_min) | (eta > 2.4) | (flat["charge"] == 0) | seen] = 0.0
    chosen, one_tau = choose_one(probability, event, len(truth), rng)
    has_tau = chosen >= 0
    is_tau = np.zeros(len(pt), dtype=bool)
    is_tau[chosen[has_tau]] = True
    response = np.where(is_tau & true_tau, tau_smear, response)

    phi = flat["phi"]
    change = pt * (response - 1)
    x = ak.to_numpy(truth["met_x"]) - np.bincount(event, change * np.cos(phi), len(truth)) + noise[:, 0]
    y = ak.to_numpy(truth["met_y"]) - np.bincount(event, change * np.sin(phi), len(truth)) + noise[:, 1]

    gone = is_tau | seen | (kind == MUON)
    reco_jets = ak.zip(
        {
            "pt": pt * response,
            "eta": flat["eta"],
            "phi": phi,
            "mass": flat["mass"] * response,
            "gen_pt": np.where(kind == ELECTRON, 0.0, pt),
            "kind": kind,
            "tagged": np.zeros(len(pt), dtype=bool),
        }
    )
    objects = {
        "jets": ak.unflatten(reco_jets[~gone], np.bincount(event[~gone], minlength=len(truth))),
        "electrons": _leptons(seen & (kind == ELECTRON), flat, event, len(truth)),
        "muons": _leptons(seen & (kind == MUON), flat, event, len(truth)),
    }
    tau = np.where(has_tau, chosen, 0)
    one = ak.zip(
        {
            "pt": tau_pt[tau],
            "eta": np.where(true_tau, flat["vis_eta"], flat["eta"])[tau],
            "phi": np.where(true_tau, flat["vis_phi"], phi)[tau],
            "mass": np.where(true_tau, flat["vis_mass"], 0.8)[tau],
            "charge": flat["charge"][tau].round(),
        }
    )
    objects["taus"] = ak.unflatten(one, np.ones(len(truth), dtype=np.int64))
    objects["met"] = ak.zip({"pt": np.hypot(x, y), "phi": np.arctan2(y, x)})
    extra = {name: truth[name] for name in ("number", "pdf") if name in truth.fields}
    events = ak.zip(
        {
            **objects,
            **extra,
            "smearing": np.tile(np.arange(smearings), len(truth) // smearings),
            "weight": ak.to_numpy(truth["weight"]) * one_tau,
            "n_vertices": vertices,
        },
        depth_limit=1,
    )
    return events[has_tau]


def jet_resolution(pt: np.ndarray, eta: np.ndarray, detector: Detector) -> np.ndarray:
    """Relative resolution of a jet's energy."""
    barrel = np.sqrt((detector.jet_noise / pt) ** 2 + detector.jet_stochastic**2 / pt + detector.jet_constant**2)
    return np.asarray(barrel * (1 + detector.jet_tail_eta * eta))


def choose_one(
    probability: np.ndarray, event: np.ndarray, n_events: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the one object of each event that is identified, given that exactly one is.

    Weights instead of a draw per object: fakes are rare, and every generated event is used.

    Args:
        probability: Of each object to be identified, shape (n_objects,).
        event: Which event each belongs to, increasing.
        n_events: Number of events.
        rng: For the choice.

    Returns:
        Index of the object, -1 where no object can be identified, and the probability that exactly one is; both of
        shape (n_events,).
    """
    none = np.exp(np.bincount(event, np.log1p(-probability), n_events))
    odds = probability / (1 - probability)
    total = np.bincount(event, odds, n_events)
    # Cumulated odds up to each object, over the events as well: a point in an event's stretch falls on one object.
    end = np.cumsum(odds)
    before = np.concatenate([[0.0], np.cumsum(total)[:-1]])
    wanted = before + rng.random(n_events) * total
    chosen = np.minimum(np.searchsorted(end, wanted, side="right"), len(odds) - 1)
    valid = total > 0
    # Rounding of the sums may point at a neighbour; such an event (one in 1e12) is left out.
    valid &= (event[chosen] == np.arange(n_events)) & (probability[chosen] > 0)
    return np.where(valid, chosen, -1), none * total


def _tau_probability(kind: np.ndarray, pt: np.ndarray, detector: Detector) -> np.ndarray:
    """Probability of a jet to be identified as a hadronic tau."""
    fake = detector.fake_rate * (np.maximum(pt, 20.0) / 45.0) ** -detector.fake_power
    factor = {GLUON: detector.fake_gluon, CHARM: detector.fake_heavy, BOTTOM: detector.fake_heavy}
    rate = fake * np.select([kind == key for key in factor], list(factor.values()), 1.0)
    rate = np.where(kind == TAU, detector.tau_efficiency, rate)
    rate = np.where(kind == ELECTRON, detector.fake_electron, rate)
    return np.asarray(np.where(kind == MUON, 0.0, rate))


def _lepton_efficiency(kind: np.ndarray, pt: np.ndarray, eta: np.ndarray, detector: Detector) -> np.ndarray:
    efficiency = np.where(kind == ELECTRON, detector.electron_efficiency, detector.muon_efficiency)
    return np.asarray(np.where((pt > 10) & (eta < 2.5), efficiency, 0.0))


def _leptons(mask: np.ndarray, flat: dict[str, np.ndarray], event: np.ndarray, n_events: int) -> ak.Array:
    values = ak.zip({name: flat[name][mask] for name in ("pt", "eta", "phi", "mass")})
    return ak.unflatten(values, np.bincount(event[mask], minlength=n_events))


# ------------------------------------------------------------------------------------------------- weights
def tag_weight(jets: ak.Array, detector: Detector, direction: int = 0) -> np.ndarray:
    """Probability of at least one b tag among the jets, shape (n_events,).

    Args:
        jets: Selected jets, with pt and kind.
        detector: Efficiencies.
        direction: 1 and -1 shift all efficiencies by their uncertainty.
    """
    kind, pt = jets["kind"], jets["pt"]
    heavy, charm = kind == BOTTOM, kind == CHARM
    # The efficiency falls at low and at high pT.
    shape = 1 - 0.25 * np.exp(-(pt - 20) / 25) - 0.0008 * np.maximum(pt - 100, 0)
    shape = np.maximum(shape, 0.3)
    light = detector.tag_light * (0.6 + 0.4 * pt / 60)
    efficiency = ak.where(heavy, detector.tag_b * shape, ak.where(charm, detector.tag_c * shape, light))
    error = ak.where(heavy, detector.tag_b_error, ak.where(charm, detector.tag_c_error, detector.tag_light_error))
    shifted = np.minimum(efficiency * (1 + direction * error), 0.95)
    return ak.to_numpy(1 - ak.prod(1 - shifted, axis=1))


def control_weight(jets: ak.Array, detector: Detector) -> np.ndarray:
    """Mistag probability that carries an untagged event over to the tagged region, shape (n_events,)."""
    rate = detector.mistag_control * (0.8 + 0.2 * np.minimum(jets["pt"], 300) / 60)
    return ak.to_numpy(1 - ak.prod(1 - rate, axis=1))


def trigger_weight(tau_pt: np.ndarray, jets: ak.Array, detector: Detector) -> tuple[np.ndarray, np.ndarray]:
    """Efficiency of a trigger on a tau and three jets, and its relative uncertainty, each of shape (n_events,).

    Args:
        tau_pt: Shape (n_events,).
        jets: At least three for each event, by falling pT.
        detector: Plateau and turn-ons.
    """
    from scipy.special import erf

    def turn_on(pt: np.ndarray, middle: float, width: float) -> np.ndarray:
        return np.asarray(0.5 * (1 + erf((pt - middle) / (sqrt(2) * width))))

    relative = turn_on(tau_pt, *detector.trigger_tau_turn_on)
    leading = ak.to_numpy(jets["pt"][:, :3])
    for i in range(3):
        relative = relative * turn_on(leading[:, i], *detector.trigger_turn_on)
    # Two per cent for the plateau, more where the turn-on is steep
    return detector.trigger_plateau * relative, 0.02 + 0.04 * (1 - relative)
