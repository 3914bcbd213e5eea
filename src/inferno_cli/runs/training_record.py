"""The record of a run that has a network: what its parts found, and what has to be said of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inferno_cli.events.earlier import said
from inferno_cli.histograms.symmetry import Parts, hidden_bins, is_hidden
from inferno_cli.runs.pretrained import provenance
from inferno_cli.runs.record import (
    MemberRecord,
    PartsRecord,
    PoiVarianceRecord,
    PrunedRecord,
    Results,
    TrainingRecord,
    bin_records,
    finite,
)
from inferno_cli.section import POI

if TYPE_CHECKING:
    from inferno_cli.config.steps import TrainConfig
    from inferno_cli.events.sample import Events
    from inferno_cli.fit.result import FitResult
    from inferno_cli.histograms.templates import Templates
    from inferno_cli.runs.run_folder import RunFolder
    from inferno_cli.training.epochs import Training
    from inferno_cli.training.final_templates import FinalTemplates
    from inferno_cli.training.members import Member
    from inferno_cli.training.networks import Network
    from inferno_cli.training.observable import ChannelNetworks

HONEST = 0.05
"""Relative difference of sigma(mu) with the noise of the variations above which a note says so."""
CLOSED_FORM = 0.01
"""Relative difference of HESSE from the closed form of the Asimov fit above which a note says so."""


def training_results(
    config: TrainConfig,
    events: Events,
    networks: Sequence[Training],
    final: FinalTemplates,
    workspace: Path,
    fit: FitResult,
    *,
    version: str,
    seconds: Mapping[str, float],
    pretrained: RunFolder | None,
) -> Results:
    """Gather what the parts of a run found; ``pretrained`` is the run whose network was taken, where there is one."""
    notes = (*fit.notes, *_template_notes(config, final), *_closed_form_notes(fit, final))
    if events.recognised is not None:
        notes = (*notes, said(events.recognised))
    expected = config.dataset.quoted_signal()
    trainings = tuple(_training(config, trained) for trained in networks)
    folds = trainings if len(trainings) > 1 else ()
    if pretrained is not None:
        folds = pretrained.results.folds
    return Results.of(
        fit.model_copy(update={"notes": notes}),
        model=config.model.name,
        model_title=config.model.title,
        dataset=events.name,
        label=events.label,
        seed=config.seed,
        poi_variance=PoiVarianceRecord(
            validation_soft=_mean(trained.validation.soft for trained in networks),
            validation_hard=_mean(trained.validation.hard for trained in networks),
            validation_honest=_mean(trained.validation.honest for trained in networks),
            templates=final.poi_variance,
            honest=finite(final.honest_variance),
        ),
        metrics=dict(final.metrics),
        figure_of_merit=finite(math.sqrt(sum(item.validation.merit for item in networks) / len(networks))),
        noise_information=final.noise_information,
        noise_shares=final.noise_shares,
        parts={name: PartsRecord.model_validate(vars(item)) for name, item in final.parts.items()},
        stability=final.stability,
        pruned=tuple(PrunedRecord.model_validate(vars(item)) for item in final.pruned),
        bins=bin_records(final.channels),
        trained_in=None if pretrained is None else provenance(pretrained, config),
        training=trainings[0] if pretrained is None else pretrained.results.training,
        folds=folds,
        dataset_checksum=events.checksum,
        code_version=version,
        workspace=str(workspace),
        timing=dict(seconds),
        sigma_s=None if expected is None else expected * fit.mu.hesse,
        cramer_rao_bound_s=config.dataset.cramer_rao_bound(config.nuisance.fit, config.nuisance.unconstrained),
    )


def _training(config: TrainConfig, trained: Training) -> TrainingRecord:
    return TrainingRecord(
        best_epoch=trained.best.number,
        loss=tuple(finite(epoch.loss) for epoch in trained.epochs),
        sigma_mu_soft=tuple(finite(math.sqrt(epoch.evaluation.soft)) for epoch in trained.epochs),
        sigma_mu_hard=tuple(finite(math.sqrt(epoch.evaluation.hard)) for epoch in trained.epochs),
        nuisance=config.parameters(config.nuisance.train),
        history=tuple(epoch.metrics() for epoch in trained.epochs),
        learnt=_learnt(config.model.network, trained.networks),
    )


def _learnt(network: Network, networks: ChannelNetworks) -> dict[str, Any]:
    """Return what summaries learnt and what networks were set to before, of several networks by name."""
    from inferno_cli.training.layers import first_member

    found = {}
    for name, observable in networks.by_name.items():
        found[name] = network.about(first_member(observable.network)) | observable.summary.state
    return found if len(found) > 1 else next(iter(found.values()))


def with_members(record: Results, config: TrainConfig, members: Sequence[Member]) -> Results:
    """Return the record of the chosen trainings with all members in it."""
    if not members:
        return record
    found = tuple(_member(config, member) for member in members)
    values = [item.optimism for item in found if item.optimism is not None]
    variance, optimism = record.poi_variance, None
    if variance is not None and variance.honest is not None and variance.validation_honest is not None:
        optimism = math.sqrt(variance.honest / variance.validation_honest) - 1
    mean = sum(values) / len(values) if values else None
    notes, n_failed = record.notes, config.n_members - len(found)
    if n_failed:
        of_all = f"{n_failed} of {config.n_members} members failed"
        notes = (*notes, f"{of_all}: their bins could not constrain the parameters")
    update = {"members": found, "optimism": optimism, "optimism_of_members": mean, "notes": notes}
    return record.model_copy(update=update)


def _member(config: TrainConfig, member: Member) -> MemberRecord:
    final, judged = member.templates, [training.validation for training in member.trainings]
    return MemberRecord(
        seeds=tuple(config.seed_of(fold, member.number) for fold in range(len(judged))),
        chosen_for=member.chosen_for,
        figure_of_merit=_root(_mean(item.merit for item in judged)),
        sigma_mu_validation=_root(_mean(item.honest for item in judged)),
        sigma_mu=None if final is None else math.sqrt(final.poi_variance),
        sigma_mu_honest=None if final is None else math.sqrt(final.honest_variance),
        trainings=tuple(_training(config, training) for training in member.trainings),
    )


def _root(variance: float | None) -> float | None:
    return None if variance is None else math.sqrt(variance)


def _mean(variances: Iterable[float]) -> float | None:
    """Return the mean over the networks, each judged as if it were for all events; None where one is infinite."""
    values = list(variances)
    return finite(sum(values) / len(values))


def _template_notes(config: TrainConfig, final: FinalTemplates) -> Iterator[str]:
    """Say what the templates leave open."""
    plain, honest = math.sqrt(final.poi_variance), math.sqrt(final.honest_variance)
    if honest > (1 + HONEST) * plain:
        yield (
            f"sigma(mu) is {plain:.3g} from the templates, and {honest:.3g} once the noise of their variations is "
            "counted: more simulated events would help"
        )
    for name, share in final.noise_shares.items():
        if share > config.binning.max_noise_information:
            yield (
                f"{share:.0%} of what the fit knows of {name} is noise of its variations, more than "
                f"binning.max_noise_information={config.binning.max_noise_information:g}: its constraint is too small"
            )
    yield from even_notes(final.parts, bin_labels(final.channels))
    for why in dict.fromkeys(final.unmeasured.values()):
        kinds = [kind for kind, reason in final.unmeasured.items() if reason == why]
        yield f"no metric {', '.join(kinds)} of the templates: {why}"
    if final.unsmoothed:
        names = ", ".join(f"{parameter} on {sample}" for parameter, sample in final.unsmoothed)
        yield f"not smoothed, for want of three bins with a positive yield: {names}"


def bin_labels(channels: Sequence[Templates]) -> list[str]:
    """Return the number of every bin, of several channels with the name of its channel."""
    found = []
    for templates in channels:
        channel = f"{templates.channel} " if len(channels) > 1 else ""
        found += [f"{channel}{number}" for number in range(templates.n_bins)]
    return found


def even_notes(parts: Mapping[str, Parts], labels: Sequence[str]) -> Iterator[str]:
    """Say which shapes a summary hides: up and down move the templates to one side, where nothing but MINOS sees it."""
    for name, item in parts.items():
        if not is_hidden(item):
            continue
        bins = hidden_bins(item)
        of_bins = f" (in bin {', '.join(labels[number] for number in bins)})" if bins else ""
        yield (
            f"up and down of {name} move the templates to the same side by {item.even:.2g} bin errors{of_bins}, apart "
            f"by {item.odd:.2g}: the training and HESSE see only the difference, take MINOS"
        )


def _closed_form_notes(fit: FitResult, final: FinalTemplates) -> Iterator[str]:
    """Say where HESSE of the Asimov fit is not the closed form of the same likelihood, which the training used."""
    closed, hesse = math.sqrt(final.poi_variance), fit.mu.hesse
    if fit.data == "asimov" and not abs(hesse / closed - 1) <= CLOSED_FORM:
        yield (
            f"HESSE of {fit.poi} is {hesse:.4g}, and {closed:.4g} in closed form from the templates, right for "
            "Asimov data: please report this, with the workspace"
        )


def merging(config: TrainConfig, final: FinalTemplates) -> Iterator[str]:
    """Say which bins were merged in which channel, by which rule, and which key changes it; nothing where none was."""
    for templates, n_made, n_supported in zip(final.channels, final.n_made, final.n_supported, strict=True):
        if templates.n_bins >= n_made:
            continue
        where = f" of {templates.channel}" if len(final.channels) > 1 else ""
        groups = "  ".join("+".join(map(str, group)) for group in templates.groups)
        yield f"templates: {n_made} bins{where} merged to {templates.n_bins}: {groups}"
        if n_supported < n_made:
            yield (
                f"templates: {n_supported} bins{where} have enough events (binning.min_yield="
                f"{config.binning.min_yield:g}, binning.min_effective_events={config.binning.min_effective_events:g})"
            )
        if n_supported > templates.n_bins:
            what = "sigma(mu)" if final.measurement.merit.pois == (POI,) else "figure of merit of the POIs"
            yield (
                f"templates: {templates.n_bins} of these {n_supported} bins{where} give the smallest {what} "
                "once the noise of the variations is counted (binning.merge_noise=true)"
            )


def pruning(config: TrainConfig, final: FinalTemplates) -> Iterator[str]:
    """Say which effects were left out, of which size, by which key; nothing where none was."""
    by_parameter: dict[str, list[str]] = {}
    for item in final.pruned:
        what = "" if item.is_all else f" {'shape' if item.part == 'shape' else 'yield'} of"
        where = f" in {item.channel}" if item.channel else ""
        text = f"{what} {item.sample}{where} ({item.change:.2%})".strip()
        by_parameter.setdefault(item.parameter, []).append(text)
    for parameter, effects in by_parameter.items():
        gone = "" if parameter in final.measurement.parameters else "; nothing is left of it"
        yield (
            f"templates: {parameter} pruned on {', '.join(effects)}, below likelihood.prune="
            f"{config.likelihood.prune:g}{gone}"
        )
