"""One network of several trainings, whose bins do not hang on the luck of one of them."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from inferno_cli.events.sample import Events, Sample
from inferno_cli.likelihood.expectation import yields_and_jacobian
from inferno_cli.likelihood.information import bin_variance, covariance
from inferno_cli.training.batches import to_tensors
from inferno_cli.training.epochs import Training
from inferno_cli.training.evaluation import Likelihoods, judge
from inferno_cli.training.members import best
from inferno_cli.training.observable import AVERAGE, NETWORK, SUMMARY, ChannelNetworks, Observable, key_of
from inferno_cli.training.soft_likelihood import SoftLikelihood
from inferno_cli.training.summaries import NominalEvents


@dataclass(frozen=True)
class Scores:
    """What the bins of a training are to the fit, on the training split.

    Attributes:
        by_name: Efficient scores of the POIs for the bins of each network, shape (n_bins, K): the derivative of the log
            of the density, less those in all other parameters as far as they explain it.
        covariance: Of the POIs in the fit, shape (K, K).
    """

    by_name: Mapping[str, Tensor]
    covariance: Tensor


@torch.no_grad()
def averaged(trainings: Sequence[Training], likelihoods: Likelihoods, events: Events, path: Path) -> Training:
    """Return one network of several trainings; its bins are placed on the training split.

    Neither the validation split nor the templates have a part in it: so nothing is chosen, and no value is optimistic
    but by the epochs.

    Args:
        trainings: Of the same configuration and events; each comes with its snapshots.
        likelihoods: What they were trained for.
        path: File of the checkpoint.

    Returns:
        The curves and the epoch are those of the training that is best on the validation split.
    """
    start = time.perf_counter()
    samples = [sample.only(likelihoods.trained.variations) for sample in events.train]
    nominal = [NominalEvents.of(sample) for sample in samples]
    first, every = trainings[0].networks, list[ChannelNetworks]()
    for item in trainings:
        every += item.networks, *item.snapshots
    scores: list[Mapping[str, Tensor]] = []
    if first.first.summary.averages_scores:
        likelihood = likelihoods.soft(likelihoods.trained, samples, events)
        scores = _in_units(tuple(efficient_scores(networks, likelihood, samples) for networks in every))
    n_scores = scores[0][next(iter(first.by_name))].shape[1] if scores else 0
    by_name = {}
    for name, observable in first.by_name.items():
        members = [copy.deepcopy(networks.by_name[name].network).cpu() for networks in every]
        network, summary = observable.summary.average(members, n_scores), observable.summary
        own = [sample for sample in nominal if first.of(sample.channel) is observable]
        summary.settle(network, [item[name] for item in scores], own)
        by_name[name] = Observable(network, summary, observable.features)
    networks = replace(first, by_name=by_name).placed(nominal)
    chosen = best(trainings)
    _store(networks, path, chosen.best.number, (len(every), n_scores))
    seconds = time.perf_counter() - start + sum(item.seconds for item in trainings)
    return Training(networks, chosen.epochs, chosen.best, judge(networks, likelihoods, events), path, seconds)


def efficient_scores(networks: ChannelNetworks, likelihood: SoftLikelihood, samples: Sequence[Sample]) -> Scores:
    """Return what the soft bins of networks are to the fit of some events.

    With the covariance C of all parameters, the derivatives J of the expectation and the variance V of each bin, one
    event in bin b moves the POIs p by C_p. J_b^T / V_b; times the inverse of C_pp it is their efficient score.

    Raises:
        SingularInformationError: If the bins cannot constrain the parameters.
    """
    outputs = [networks.outputs(sample).cpu() for sample in samples]
    memberships = []
    for sample, output in zip(samples, outputs, strict=True):
        memberships.append(networks.of(sample.channel).summary.soft(output))
    model = likelihood.expectation(to_tensors(samples, "cpu"), memberships)
    yields, jacobian = yields_and_jacobian(model, model.init)
    variance, matrix = bin_variance(model, yields), covariance(model)
    pois = [model.parameters.index(poi) for poi in likelihood.measurement.merit.pois]
    own = matrix[pois][:, pois]
    moved, first = jacobian @ matrix[:, pois], 0
    of_bins: dict[str, tuple[Tensor, Tensor]] = {}
    # A network of several channels sees no channel: its bins are those of all of them together.
    for channel in dict.fromkeys(stratum.channel for stratum in likelihood.strata):
        (name,) = [name for name, item in networks.by_name.items() if item is networks.of(channel)]
        rows = slice(first, first + networks.of(channel).summary.n_bins)
        before = of_bins.get(name, (torch.zeros_like(moved[rows]), torch.zeros_like(variance[rows])))
        of_bins[name] = before[0] + moved[rows], before[1] + variance[rows]
        first = rows.stop
    by_name = {}
    for name, (change, total) in of_bins.items():
        by_name[name] = torch.linalg.solve(own, (change / total[:, None]).T).T
    return Scores(by_name, own)


def _in_units(found: Sequence[Scores]) -> list[Mapping[str, Tensor]]:
    """Return the scores of each training in units in which their squared distance is the information that is lost.

    That is relative to what the fit knows of all POIs, ds^T C_pp ds, with the mean covariance of the trainings.
    """
    factor = torch.linalg.cholesky(torch.stack([item.covariance for item in found]).mean(dim=0))
    scaled: list[Mapping[str, Tensor]] = []
    for item in found:
        scaled.append({name: scores @ factor for name, scores in item.by_name.items()})
    return scaled


def _store(networks: ChannelNetworks, path: Path, epoch: int, average: tuple[int, int]) -> None:
    """Write the checkpoint of an average."""
    weights, states = {}, {}
    for name, observable in networks.by_name.items():
        states[key_of(SUMMARY, name)] = observable.summary.state
        for key, value in observable.network.state_dict().items():
            weights[f"{key_of(NETWORK, name)}.{key}"] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": epoch, "state_dict": weights, AVERAGE: average, **states}, path)
