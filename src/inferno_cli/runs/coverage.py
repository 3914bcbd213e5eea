"""The coverage of a run's intervals, with its network and its templates, and the record of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from inferno_cli.config.measurement import Measurement
from inferno_cli.errors import FitFailedError, TemplateError
from inferno_cli.fit.result import Record
from inferno_cli.progress import progress

if TYPE_CHECKING:
    from inferno_cli.config.schema import Coverage
    from inferno_cli.config.steps import TrainConfig
    from inferno_cli.events.sample import Events
    from inferno_cli.fit.coverage import Ensemble, Fits
    from inferno_cli.histograms.templates import Templates
    from inferno_cli.training.observables import Observables
    from inferno_cli.training.pseudo_data import PseudoData

NOMINAL, PRIORS = "nominal", "priors"
"""Names of truths: all nuisance parameters at their nominal values, and each drawn from its prior."""
MOST_DRAWS = 1000
"""Draws from the priors until the parameters are possible."""
BATCH = 200
"""Experiments whose events are in memory together."""


class CoverageRecord(Record):
    """Pseudo-experiments of one truth, or of all true ``mu`` together where that is null; all numbers are of mu."""

    mu: float | None
    nuisance: str
    """True nuisance parameters: "nominal", "priors", "jes +1", "all -1"."""
    experiments: int
    failed: int
    """Fits that failed, which are left out."""
    hesse: float
    """Mean HESSE error."""
    bias: tuple[float, float]
    """Mean of best fit minus truth; here and below with the statistical error."""
    common_bias: float
    """Standard deviation of the bias that is expected from the noise of the simulation, in one run.

    With nuisance parameters from their priors it is that of single experiments: noise of a variation moves them by as
    much as the parameter is off, and is a part of their spread.
    """
    spread: tuple[float, float]
    """Standard deviation of best fit minus truth."""
    pull_mean: tuple[float, float]
    pull_spread: tuple[float, float]
    """Of best fit minus truth, in units of HESSE."""
    coverage_hesse: tuple[float, float]
    """Share of the HESSE intervals that hold the truth: 0.683 is right."""
    coverage_minos: tuple[float, float]
    """The same of MINOS."""
    score: float
    """Of the HESSE intervals in the FAIR Universe challenge (see ``fit.coverage.challenge_score``)."""

    @classmethod
    def of(cls, mu: float | None, nuisance: str, ensemble: Ensemble, common_bias: float) -> Self:
        """Summarise pseudo-experiments."""
        mean, spread = ensemble.pull
        return cls(
            mu=mu,
            nuisance=nuisance,
            experiments=len(ensemble),
            failed=ensemble.failed,
            hesse=ensemble.hesse,
            bias=ensemble.bias,
            common_bias=common_bias,
            spread=ensemble.spread,
            pull_mean=mean,
            pull_spread=spread,
            coverage_hesse=ensemble.coverage_hesse,
            coverage_minos=ensemble.coverage_minos,
            score=ensemble.score,
        )


class CoverageStudy(Record):
    """The coverage of a run's intervals."""

    origin: str
    """Where the pseudo-data are from."""
    truths: tuple[CoverageRecord, ...]

    def overall(self) -> CoverageRecord | None:
        """Return the row of all true mu, with nuisance parameters from their priors where these are drawn."""
        for name in (PRIORS, NOMINAL):
            own = [item for item in self.truths if item.nuisance == name]
            if own:
                return own[-1]  # that of all true mu is behind the others
        return None

    def notes(self) -> Iterator[str]:
        """Say where fits failed: those that are left are no fair sample of all."""
        failed = [item for item in self.truths if item.failed and item.mu is not None]
        if failed:
            worst = max(failed, key=lambda item: item.failed / (item.failed + item.experiments))
            yield (
                f"coverage: pseudo-experiments of {len(failed)} truths have no valid fit, and are in no number: most "
                f"with mu = {worst.mu:g} and nuisance parameters {worst.nuisance!r}, {worst.failed} of "
                f"{worst.failed + worst.experiments}. Wider likelihood.poi_bounds may help"
            )

    def metrics(self) -> Iterator[tuple[str, float]]:
        """Yield the numbers that are logged for comparison across runs, by name."""
        for item in self.truths:
            name = f"coverage/{item.nuisance.replace('+', 'plus ')}/{'all' if item.mu is None else f'mu {item.mu:g}'}"
            yield f"{name}/minos", item.coverage_minos[0]
            yield f"{name}/hesse", item.coverage_hesse[0]
            yield f"{name}/bias", item.bias[0]
            yield f"{name}/score", item.score


@dataclass(frozen=True)
class Truth:
    """True parameters of an ensemble.

    Attributes:
        mu: True POI.
        nuisance: What its nuisance parameters are called.
        values: Those that are not nominal, by name.
        from_priors: Whether they are drawn from their priors, for each experiment anew.
    """

    mu: float
    nuisance: str = NOMINAL
    values: Mapping[str, float] = field(default_factory=dict)
    from_priors: bool = False


def truths(settings: Coverage, parameters: Sequence[str]) -> Iterator[Truth]:
    """Yield the true parameters that are asked for; those at one standard deviation with the nominal signal alone."""
    if NOMINAL in settings.nuisance:
        yield from (Truth(mu) for mu in settings.mu)
    for sign in (1.0, -1.0):
        if "each" in settings.nuisance:
            yield from (Truth(1.0, f"{name} {sign:+g}", {name: sign}) for name in parameters)
        if "together" in settings.nuisance and len(parameters) > 1:
            yield Truth(1.0, f"all {sign:+g}", dict.fromkeys(parameters, sign))
    if PRIORS in settings.nuisance:
        yield from (Truth(mu, PRIORS, from_priors=True) for mu in settings.mu)


def coverage(
    config: TrainConfig,
    settings: Coverage,
    events: Events,
    observables: Observables,
    channels: Sequence[Templates],
    measurement: Measurement,
    workspace: dict[str, Any],
    where: str,
) -> CoverageStudy:
    """Fit pseudo-experiments whose truth is known with the templates of a run.

    Two ensembles answer two questions. With the truth fixed, nominal or at one standard deviation, the auxiliary
    measurements fluctuate around it, as in a repetition of the experiment (frequentist coverage at that truth). With
    the truth from the priors the auxiliary measurements are those of the run, as they are when the analysis is done
    (average over what the truth may be). Each experiment has random numbers of its own: more of them, or more
    workers, change none of the others.

    Args:
        observables: With the bins that are fitted.
        channels: Templates that are fitted.
        measurement: What is fitted of them.
        workspace: The run's.
        where: Names it in errors.

    Raises:
        TemplateError: If no data can have such a truth, or there is none to ask for.
        FitFailedError: If fewer than two experiments of a truth have a valid fit.
    """
    from inferno_cli.fit.coverage import Ensemble, Fits
    from inferno_cli.training.pseudo_data import pseudo_data

    source = pseudo_data(config, measurement, observables, events, channels)
    every = list(truths(settings, measurement.movable))
    if not every:
        raise TemplateError(
            f"coverage.nuisance=[{', '.join(settings.nuisance)}] asks for nothing: nuisance parameters that move "
            f"events of this run are [{', '.join(measurement.movable)}]. Add nominal to it"
        )
    fits, data = Fits(workspace, config.fit, where), []
    _require_within(every, fits.poi_bounds)
    for number, truth in enumerate(every):
        drawn = _draw(source, truth, measurement, fits, settings.experiments, (config.seed, number))
        data.append((drawn, truth.mu))
    total = len(every) * settings.experiments
    with progress(config.fit.progress, "coverage: pseudo-experiments", total) as advance:
        outcomes = fits.outcomes(data, settings.workers, advance)
    ensembles = [Ensemble.of(found, truth.mu) for found, truth in zip(outcomes, every, strict=True)]
    for truth, ensemble in zip(every, ensembles, strict=True):
        if len(ensemble) < 2:
            raise FitFailedError(
                f"{len(ensemble)} of {settings.experiments} pseudo-experiments with mu = {truth.mu:g} and nuisance "
                f"parameters {truth.nuisance!r} have a valid fit. Widen likelihood.poi_bounds, or take that out of "
                "coverage.mu or coverage.nuisance"
            )
    return CoverageStudy(origin=source.origin, truths=tuple(_records(every, ensembles, source, measurement)))


def _require_within(every: Sequence[Truth], bounds: tuple[float, float]) -> None:
    """Check that the fit can find each true mu."""
    low, high = bounds
    for truth in every:
        if not low <= truth.mu <= high:
            raise TemplateError(
                f"coverage.mu has {truth.mu:g}, and the fit looks for mu between {low:g} and {high:g}. Widen "
                "likelihood.poi_bounds"
            )


def _draw(
    source: PseudoData, truth: Truth, measurement: Measurement, fits: Fits, n: int, seeds: tuple[int, int]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Draw data of one truth with their auxiliary measurements, shape (n, n_data); seeded by run and truth."""
    from inferno_cli.training.pseudo_data import Experiment

    seed, number = seeds
    experiments, gammas = [], source.gammas()
    for toy in range(n):
        rng = np.random.default_rng(np.random.SeedSequence([seed, *b"coverage"], spawn_key=(number, toy)))
        values = _from_priors(source, truth, measurement, rng) if truth.from_priors else truth.values
        experiments.append(Experiment(truth.mu, values, rng))
    if not truth.from_priors and not source.is_possible(truth.mu, truth.values):
        said = ", ".join(f"{name} = {value:+g}" for name, value in truth.values.items())
        raise TemplateError(
            f"no data can have mu = {truth.mu:g} and {said or 'nominal nuisance parameters'}: a rate would be "
            "negative. Take that out of coverage.mu or coverage.nuisance"
        )
    # What fluctuates, and around what; that of the priors is as it was measured.
    known = gammas if truth.from_priors else gammas | dict.fromkeys(measurement.movable, 0.0) | dict(truth.values)
    rows = []
    for start in range(0, n, BATCH):
        batch = experiments[start : start + BATCH]
        for item, counts in zip(batch, source.counts(batch), strict=True):
            rows.append(np.concatenate([counts, fits.auxiliary.measured(known, item.rng)]))
    return np.stack(rows)


def _from_priors(
    source: PseudoData, truth: Truth, measurement: Measurement, rng: np.random.Generator
) -> dict[str, float]:
    """Draw every constrained parameter from its prior, again where no data can have the values."""
    names = [name for name in measurement.movable if name not in measurement.unconstrained]
    for _ in range(MOST_DRAWS):
        values = dict(zip(names, rng.standard_normal(len(names)).tolist(), strict=True))
        if source.is_possible(truth.mu, values):
            return values
    raise TemplateError(
        f"coverage: no data can have nuisance parameters as they are drawn from their priors, {MOST_DRAWS} times in a "
        "row: a rate would be negative. Take priors out of coverage.nuisance"
    )


def _records(
    every: Sequence[Truth], ensembles: Sequence[Ensemble], source: PseudoData, measurement: Measurement
) -> Iterator[CoverageRecord]:
    """Yield a record for every truth, then for all true mu of those with the same nuisance parameters."""
    from inferno_cli.fit.coverage import Ensemble

    groups: dict[str, list[int]] = {}
    average = dict.fromkeys(measurement.movable, 1.0)  # of the squares
    bias = []
    for number, (truth, ensemble) in enumerate(zip(every, ensembles, strict=True)):
        bias.append(source.common_bias(average if truth.from_priors else truth.values))
        yield CoverageRecord.of(truth.mu, truth.nuisance, ensemble, bias[-1])
        groups.setdefault(truth.nuisance, []).append(number)
    for nuisance, numbers in groups.items():
        if len(numbers) > 1:
            joined = Ensemble.joined([ensembles[number] for number in numbers])
            yield CoverageRecord.of(None, nuisance, joined, bias[numbers[0]])
