"""The schema of each step's configuration: every key, its type and its range.

The YAML files under ``conf`` give the values; these classes say which are allowed. A key that is not here is an
error, also when it was added with ``+`` or ``++``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inferno_cli.config.datasets import Dataset, NtupleDataset
from inferno_cli.config.effects import Effect, effects
from inferno_cli.config.section import POI, Finite, Fraction, Names, NonNegative, Positive, Section, Seed
from inferno_cli.config.systematics import MorphSystematic, TransformSystematic

Progress = Literal["auto", "bar", "lines", "none"]
"""How far a long part is: "auto" is a bar on a terminal, and lines in a log."""


class Model(Section):
    """The network and the summary statistic that it is trained to be."""

    kind: Literal["bce", "inferno", "optimal"]
    """BCE, INFERNO, or the exact classifier of the synthetic mixture, which is not trained."""
    bins: Annotated[int, Field(ge=2, le=200)]
    """Bins of the histogram before sparse ones are merged; of INFERNO also the outputs of the network."""
    temperature: Positive
    """INFERNO: of the softmax. BCE: width of the smoothed bin edges, in bins, for the soft variance alone."""
    hidden: tuple[Annotated[int, Field(ge=1)], ...]
    """Units of each hidden layer."""
    activation: Literal["relu", "leaky_relu", "elu", "silu", "gelu", "tanh"]
    """Of the hidden layers."""
    learning_rate: Positive
    """Of AdamW, at its largest."""
    weight_decay: NonNegative
    """Of AdamW."""
    batch_size: Annotated[int, Field(ge=2)]
    """Nominal events of all samples in one batch."""
    input_noise: NonNegative
    """Noise on the features while training, in standard deviations of each: keeps a network from learning by heart."""
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """INFERNO: share of trainer.max_epochs in which the hidden layers first learn to tell the samples apart."""

    @model_validator(mode="after")
    def _no_warm_up(self) -> Self:
        if self.kind != "inferno" and self.warm_up:
            raise ValueError("warm_up is for kind 'inferno'; a classifier is one from the start")
        return self


class Trainer(Section):
    """How Lightning trains."""

    accelerator: Literal["cpu", "gpu", "cuda", "auto"]
    """Where Lightning trains."""
    devices: Annotated[int, Field(ge=1, le=1)]
    """One: the loss needs the whole batch, so it is not split over devices."""
    threads: Annotated[int, Field(ge=1)]
    """Threads of torch."""
    max_epochs: Annotated[int, Field(ge=1)]
    """Epochs; the best one is kept."""
    schedule: Literal["constant", "cosine", "one_cycle"]
    """How the learning rate goes on over the epochs."""
    gradient_clip: NonNegative
    """Largest norm of the gradient; 0 switches clipping off."""
    early_stopping: Annotated[int, Field(ge=1)] | None
    """Stop after so many epochs without a better hard validation value; null: never."""
    progress: Progress
    """How far the training is: a bar on a terminal, lines in a log."""


class Nuisance(Section):
    """Which of the dataset's systematics are nuisance parameters, in training and in the fit."""

    train: Names
    """Systematics in the training; the others are absent from its likelihood."""
    fit: Names
    """Systematics in the fit."""
    unconstrained: Names
    """Those whose constraint term is dropped."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for field in ("train", "fit", "unconstrained"):
            names = getattr(self, field)
            if len(set(names)) != len(names):
                raise ValueError(f"{field} names a parameter twice: {', '.join(names)}")
        extra = sorted(set(self.train) - set(self.fit))
        if extra:
            raise ValueError(f"train has {', '.join(extra)}, which fit lacks; add it to fit or drop it from train")
        extra = sorted(set(self.unconstrained) - set(self.fit))
        if extra:
            raise ValueError(f"unconstrained has {', '.join(extra)}, which fit lacks; add it to fit or drop it there")
        return self


class Likelihood(Section):
    """The HistFactory model that is trained on and fitted."""

    samples: Annotated[Names, Field(min_length=1)] | None
    """Restrict to these samples; null: all of the dataset."""
    staterror: bool
    """Statistical error of the templates, one parameter for each bin."""
    poi_bounds: tuple[Finite, Finite]
    """Range of mu in the fit."""


class Binning(Section):
    """When neighbouring bins are merged, before any information matrix is taken (see histograms.binning)."""

    min_yield: Positive
    """Smallest expected yield of a bin."""
    min_effective_events: Annotated[float, Field(ge=1)]
    """Smallest effective number of simulated events of a bin, (sum w)^2 / sum w^2."""
    max_noise_information: Positive
    """Largest information on a nuisance parameter, in units of its constraint, that MC noise alone may make."""


class Fit(Section):
    """The fit of the workspace with MINUIT.

    Lists of parameters take "mu" (the POI, whatever a workspace calls it), names, one entry of a vector
    ("staterror_SR[0]"), a vector ("staterror_SR"), patterns with "*", and "all".
    """

    data: Literal["asimov", "observed"]
    """The expectation (Asimov), or the observed events."""
    minos: Names
    """Parameters whose MINOS errors are wanted."""
    scan_points: Annotated[int, Field(ge=3)] | None
    """Points of each NLL scan; null: no scan."""
    scan: Names = (POI,)
    """Parameters whose profile likelihood is wanted."""
    scan_2d: tuple[tuple[str, str], ...] = ()
    """Pairs of parameters."""
    scan_2d_points: Annotated[int, Field(ge=3)] = 15
    """Points along each axis."""
    significance: bool
    """Of the discovery, from the likelihood ratio of mu = 0."""
    stat_only: bool
    """Fit mu once more with everything else fixed."""
    goodness_of_fit: bool = True
    """Of observed data; Asimov data fit perfectly by construction."""
    yields: bool = True
    """Expected events before and after the fit; the plots of data against prediction need them."""
    ranking: Names = ()
    """Parameters whose impact on the POI is wanted: four fits each."""
    breakdown: bool = False
    """Split the error of the POI by groups of parameters."""
    groups: dict[str, Names] | None = None
    """Parameters by group, in the order in which they are fixed; the rest is grouped by kind of modifier.

    null and not {}: Hydra merges a mapping on the command line into the one that is there, and refuses new keys.
    """
    limit: bool = False
    """Upper limit on the POI with CLs."""
    confidence_level: Fraction = 0.95
    """Of the limit."""
    limit_bracket: tuple[NonNegative, NonNegative] | None = None
    """Values of the POI between which all limits lie; null: 0.1 and its upper bound."""
    limit_tolerance: Positive = 0.01
    """Of the limits, in units of the POI."""
    max_calls: Annotated[int, Field(ge=1)]
    """Most calls of the likelihood in one minimisation."""
    tolerance: Positive
    """MINUIT's: the goal for EDM is 0.002 times this."""
    progress: Progress = "auto"
    """How far a long part of the fit is."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.limit_bracket is not None and self.limit_bracket[0] >= self.limit_bracket[1]:
            raise ValueError("limit_bracket must rise")
        for x, y in self.scan_2d:
            if x == y:
                raise ValueError(f"scan_2d has a pair of {x!r} with itself")
        return self

    def named_parameters(self) -> Iterator[tuple[str, str]]:
        """Yield every name in a list of parameters, with the key of the list."""
        lists = {"minos": self.minos, "scan": self.scan, "ranking": self.ranking}
        lists |= {f"groups.{group}": names for group, names in (self.groups or {}).items()}
        lists |= {"scan_2d": tuple(name for pair in self.scan_2d for name in pair)}
        for key, names in lists.items():
            yield from ((key, name) for name in names)


class Tracking(Section):
    """Where runs are logged."""

    backend: Literal["mlflow", "none"]
    """MLflow, or nowhere."""
    uri: str | None = None
    """A sqlite file or a tracking server."""
    experiment: str | None = None
    """The experiment in the store."""
    run_name: str | None = None
    """Name of the run; null: the dataset and model, in a sweep what differs."""
    log_checkpoint: bool = True
    """Copy the checkpoint to the store."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.backend == "mlflow" and (self.uri is None or self.experiment is None):
            raise ValueError("backend 'mlflow' needs uri and experiment")
        return self


class Report(Section):
    """What is drawn."""

    plots: bool
    """Draw at all."""
    formats: Annotated[tuple[Literal["png", "pdf", "svg"], ...], Field(min_length=1)]
    """File formats of the plots."""


# ------------------------------------------------------------------------------------------------- the steps
class Step(Section):
    """What the configuration of every step has."""

    output_dir: str
    """Folder of everything that is written."""
    tracking: Tracking


class Study(Section):
    """A sweep with repeats, in one of two sizes (see conf/study)."""

    name: str
    """Of its folder."""
    scale: Literal["quick", "full"]
    """Which of the two sizes."""
    repeats: Annotated[int, Field(ge=1)]
    """Runs of each point, with seeds from 0."""
    quick: dict[str, float | str]
    """Numbers of the small size, which the study's file uses."""
    full: dict[str, float | str]
    """Numbers of each size, which the study's file uses."""


class TrainConfig(Step):
    """``inferno train``: from events to results."""

    study: Study | None = None
    reuse: str | None = None
    """Folder in which this point is looked for: it is not run again when it finished there."""
    trained_in: str | None = None
    """A finished run whose network is taken: nothing is trained. A folder of runs: that of the same model and seed."""
    trained_for: str | None = None
    """Of several runs in ``trained_in`` that of this experiment."""
    seed: Seed
    """Of every draw: the events and the training."""
    dataset: Annotated[Dataset, Field(discriminator="kind")]
    """What is measured."""
    model: Model
    nuisance: Nuisance
    likelihood: Likelihood
    binning: Binning
    trainer: Trainer
    fit: Fit
    report: Report
    export: bool
    """Write the workspace for other tools as well: ROOT histograms, Combine datacard, cabinetry configuration."""

    @property
    def data_seed(self) -> int:
        """Seed of the events and of how they are divided."""
        return self.seed if self.dataset.seed is None else self.dataset.seed

    @property
    def sample_names(self) -> Names:
        """Samples in the likelihood, signal first."""
        wanted = self.likelihood.samples
        return tuple(name for name in self.dataset.sample_names if wanted is None or name in wanted)

    def effects(self, names: Names) -> tuple[Effect, ...]:
        """Return what the systematics ``names`` do to the samples of the likelihood."""
        return effects(self.dataset.systematics, names, self.sample_names)

    def parameters(self, names: Names) -> Names:
        """Names of the nuisance parameters of the systematics ``names``."""
        return tuple(dict.fromkeys(effect.parameter for effect in self.effects(names)))

    @property
    def grouped_fit(self) -> Fit:
        """The fit with the groups of the dataset's systematics, where the fit names none."""
        groups: dict[str, Names] = {}
        for effect in self.effects(self.nuisance.fit):
            if (group := effect.definition.group) is not None:
                groups[group] = tuple(dict.fromkeys((*groups.get(group, ()), effect.parameter)))
        return self.fit if self.fit.groups is not None else self.fit.model_copy(update={"groups": groups or None})

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        from inferno_cli.errors import closest

        if self.trained_for is not None and self.trained_in is None:
            raise ValueError(f"trained_for is {self.trained_for!r}, which chooses among the runs of trained_in=FOLDER")
        if self.model.kind == "optimal" and isinstance(self.dataset, NtupleDataset):
            raise ValueError(
                f"model.kind is 'optimal', which needs exact densities; dataset {self.dataset.name!r} is made of "
                "events. Use dataset=synthetic, or model=bce"
            )
        known, systematics = self.dataset.sample_names, self.dataset.systematics
        for name in self.likelihood.samples or ():
            if name not in known:
                raise ValueError(f"likelihood.samples: unknown sample {name!r}{closest(name, known)}")
        for name in self.nuisance.fit:
            if name not in systematics:
                raise ValueError(
                    f"nuisance.fit: dataset {self.dataset.name!r} has no systematic {name!r}"
                    f"{closest(name, systematics)}"
                )
            systematic = systematics[name]
            if not set(systematic.samples) & set(self.sample_names):
                raise ValueError(f"nuisance.fit: {name!r} touches none of the samples in likelihood.samples")
            if name in self.nuisance.unconstrained and not isinstance(
                systematic, TransformSystematic | MorphSystematic
            ):
                raise ValueError(
                    f"nuisance.unconstrained: {name!r} is of kind {systematic.kind!r}; only shapes can be freed "
                    "(for a yield use kind 'free')"
                )
        parameters = (POI, *self.parameters(self.nuisance.fit))
        for key, name in self.fit.named_parameters():
            # Whether a vector has such an entry, and a pattern a match, is known when the workspace is.
            later = name == "all" or "*" in name or (self.likelihood.staterror and name.startswith("staterror"))
            if not later and name not in parameters:
                raise ValueError(f"fit.{key}: {name!r} is not a parameter{closest(name, parameters)}")
        low, high = self.likelihood.poi_bounds
        if not low < 1 < high:
            raise ValueError(f"likelihood.poi_bounds is [{low:g}, {high:g}]; it must contain the nominal value 1")
        for key in ("significance", "limit"):
            if getattr(self.fit, key) and low > 0:
                raise ValueError(
                    f"likelihood.poi_bounds begins at {low:g}, and fit.{key} fits without signal; "
                    f"lower the bound to 0 or less, or set fit.{key}=false"
                )
        has_data = not isinstance(self.dataset, NtupleDataset) or "data" in {
            sample.role for sample in self.dataset.samples.values()
        }
        if self.fit.data == "observed" and not has_data:
            raise ValueError("fit.data is 'observed', but no sample of the dataset has the role 'data'")
        if not {name for name in self.sample_names if self._is_signal(name)}:
            raise ValueError("likelihood.samples leaves no signal sample")
        if all(self._is_signal(name) for name in self.sample_names):
            raise ValueError("likelihood.samples leaves no background sample")
        return self

    def _is_signal(self, name: str) -> bool:
        if isinstance(self.dataset, NtupleDataset):
            return self.dataset.samples[name].role == "signal"
        return name == "signal"

    @property
    def signal_names(self) -> Names:
        """Samples scaled by the POI."""
        return tuple(name for name in self.sample_names if self._is_signal(name))


class DataConfig(TrainConfig):
    """``inferno data``: the dataset that ``inferno train`` would read with the same configuration."""

    systematics: Names | None
    """Those that are described; null: every one of the dataset."""
    source_branches: Names
    """Branches that name the generated event that a row is made from; read where a tree has them."""
    bins: Annotated[int, Field(ge=2, le=500)]
    """Of the control plots."""

    @model_validator(mode="after")
    def _known_systematics(self) -> Self:
        from inferno_cli.errors import closest

        known = self.dataset.systematics
        for name in self.systematics or ():
            if name not in known:
                raise ValueError(f"systematics: dataset {self.dataset.name!r} has no {name!r}{closest(name, known)}")
        return self

    @property
    def described(self) -> tuple[Effect, ...]:
        """What the systematics to be described do to the samples of the likelihood."""
        return self.effects(tuple(self.dataset.systematics) if self.systematics is None else self.systematics)


class FitConfig(Step):
    """``inferno fit``: a pyhf workspace by itself."""

    workspace: str
    """File of the workspace (JSON)."""
    measurement: str | None
    """Name of the measurement in it; null: the first."""
    fit: Fit
    report: Report


class PredictConfig(Section):
    """``inferno predict``: apply a finished run to ntuples."""

    run: str
    """Folder of the run."""
    input: str | None
    """A ROOT file, a folder or a glob; null: the dataset of the run."""
    output: str | None
    """Folder of the new files; null: ``predictions`` in the folder of the run."""
    tree: str | None
    """Name or glob of the trees; null: all, or those of the run's dataset."""
    chunk: Annotated[int, Field(ge=1)]
    """Rows that are in memory together."""
    keep: Names
    """More branches that are copied."""
    overwrite: bool
    """Replace files that are there."""


class ExplainConfig(Section):
    """``inferno explain``: what the network of a finished run learnt."""

    run: str
    """Folder of the run."""
    output: str | None
    """Folder of the tables and plots; null: ``explain`` in the folder of the run."""
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    """Of the shuffles."""
    repeats: Annotated[int, Field(ge=1)]
    """Shuffles of each feature."""
    pairs: Annotated[int, Field(ge=0)]
    """Pairs of the most important features over which the bins are drawn."""
    cells: Annotated[int, Field(ge=2, le=200)]
    """Along each axis of such a plot."""
    report: Report
    track: bool
    """Log everything to the MLflow run of the run, where there is one."""


class UiConfig(Step):
    """``inferno ui``: MLflow's pages on the store."""

    host: str
    """Address on which the pages are served."""
    port: Annotated[int, Field(ge=1, le=65535)]
    """Its port."""
