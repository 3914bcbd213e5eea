"""The schema of each step's configuration: every key, its type and its range.

The YAML files under ``conf`` give the values; these classes say which are allowed. A key that is not here is an
error, also when it was added with ``+`` or ``++``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inferno_cli.config.datasets import Dataset, NtupleDataset
from inferno_cli.config.section import POI, Finite, Names, NonNegative, Positive, Section
from inferno_cli.config.systematics import AnySystematic, ShapeSystematic, TransformSystematic


class Model(Section):
    """The network and the summary statistic that it is trained to be."""

    kind: Literal["bce", "inferno"]
    bins: Annotated[int, Field(ge=2, le=200)]
    temperature: Positive
    """INFERNO: of the softmax. BCE: width of the smoothed bin edges, in bins, for the soft variance alone."""
    hidden: tuple[Annotated[int, Field(ge=1)], ...]
    activation: Literal["relu", "leaky_relu", "elu", "silu", "gelu", "tanh"]
    learning_rate: Positive
    weight_decay: NonNegative
    batch_size: Annotated[int, Field(ge=2)]
    """Nominal events of all samples in one batch."""
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """INFERNO: share of trainer.max_epochs in which the hidden layers first learn to tell the samples apart."""

    @model_validator(mode="after")
    def _no_warm_up(self) -> Self:
        if self.kind == "bce" and self.warm_up:
            raise ValueError("warm_up is for kind 'inferno'; a BCE network is a classifier from the start")
        return self


class Trainer(Section):
    """How Lightning trains."""

    accelerator: Literal["cpu", "gpu", "cuda", "auto"]
    devices: Annotated[int, Field(ge=1, le=1)]
    """One: the loss needs the whole batch, so it is not split over devices."""
    threads: Annotated[int, Field(ge=1)]
    max_epochs: Annotated[int, Field(ge=1)]
    schedule: Literal["constant", "cosine", "one_cycle"]
    gradient_clip: NonNegative
    """Largest norm of the gradient; 0 switches clipping off."""
    early_stopping: Annotated[int, Field(ge=1)] | None
    """Stop after so many epochs without a better hard validation value; null: never."""
    progress: Literal["auto", "bar", "lines", "none"]


class Nuisance(Section):
    """Which of the dataset's systematics are nuisance parameters, in training and in the fit."""

    train: Names
    fit: Names
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
            raise ValueError(f"train has {', '.join(extra)}, which fit lacks")
        extra = sorted(set(self.unconstrained) - set(self.fit))
        if extra:
            raise ValueError(f"unconstrained has {', '.join(extra)}, which fit lacks")
        return self


class Likelihood(Section):
    """The HistFactory model that is trained on and fitted."""

    samples: Annotated[Names, Field(min_length=1)] | None
    """Restrict to these samples; null: all of the dataset."""
    staterror: bool
    poi_bounds: tuple[Finite, Finite]


class Binning(Section):
    """When neighbouring bins are merged, before any information matrix is taken (see histograms.binning)."""

    min_yield: Positive
    """Smallest expected yield of a bin."""
    min_effective_events: Annotated[float, Field(ge=1)]
    """Smallest effective number of simulated events of a bin, (sum w)^2 / sum w^2."""
    max_noise_information: Positive
    """Largest information on a nuisance parameter, in units of its constraint, that MC noise alone may make."""


class Fit(Section):
    """The fit of the workspace with MINUIT."""

    data: Literal["asimov", "observed"]
    minos: Names
    scan_points: Annotated[int, Field(ge=3)] | None
    """Points of the NLL scan of the POI; null: no scan."""
    significance: bool
    stat_only: bool
    max_calls: Annotated[int, Field(ge=1)]
    tolerance: Positive


class Tracking(Section):
    """Where runs are logged."""

    backend: Literal["mlflow", "none"]
    uri: str | None = None
    experiment: str | None = None
    run_name: str | None = None
    log_checkpoint: bool = True

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.backend == "mlflow" and (self.uri is None or self.experiment is None):
            raise ValueError("backend 'mlflow' needs uri and experiment")
        return self


class Report(Section):
    """What is drawn."""

    plots: bool
    formats: Annotated[tuple[Literal["png", "pdf", "svg"], ...], Field(min_length=1)]


# ------------------------------------------------------------------------------------------------- the steps
class Step(Section):
    """What the configuration of every step has."""

    output_dir: str
    tracking: Tracking


class TrainConfig(Step):
    """``inferno train``: from events to results."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    dataset: Annotated[Dataset, Field(discriminator="kind")]
    model: Model
    nuisance: Nuisance
    likelihood: Likelihood
    binning: Binning
    trainer: Trainer
    fit: Fit
    report: Report

    @property
    def sample_names(self) -> Names:
        """Samples in the likelihood, signal first."""
        wanted = self.likelihood.samples
        return tuple(name for name in self.dataset.sample_names if wanted is None or name in wanted)

    def systematic(self, name: str) -> AnySystematic:
        """Return the definition of the nuisance parameter ``name``."""
        return self.dataset.systematics[name]

    @model_validator(mode="after")
    def _combinations(self) -> Self:
        from inferno_cli.errors import closest

        known, systematics = self.dataset.sample_names, self.dataset.systematics
        for name in self.likelihood.samples or ():
            if name not in known:
                raise ValueError(f"likelihood.samples: unknown sample {name!r}{closest(name, known)}")
        for name, systematic in systematics.items():
            if name == POI:
                raise ValueError(f"dataset.systematics.{name}: {POI!r} is the parameter of interest")
            for sample in systematic.samples:
                if sample not in known:
                    raise ValueError(
                        f"dataset.systematics.{name}.samples: unknown sample {sample!r}{closest(sample, known)}"
                    )
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
                systematic, TransformSystematic | ShapeSystematic
            ):
                raise ValueError(
                    f"nuisance.unconstrained: {name!r} is of kind {systematic.kind!r}; only shapes can be freed "
                    "(for a yield use kind 'free')"
                )
        for name in self.fit.minos:
            if name != POI and name not in self.nuisance.fit:
                raise ValueError(f"fit.minos: {name!r} is not a parameter{closest(name, (POI, *self.nuisance.fit))}")
        low, high = self.likelihood.poi_bounds
        if not low < 1 < high:
            raise ValueError(f"likelihood.poi_bounds is [{low:g}, {high:g}]; it must contain the nominal value 1")
        if self.fit.significance and low > 0:
            raise ValueError(
                f"likelihood.poi_bounds begins at {low:g}, and fit.significance fits without signal; "
                "lower the bound to 0 or less, or set fit.significance=false"
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


class FitConfig(Step):
    """``inferno fit``: a pyhf workspace by itself."""

    workspace: str
    measurement: str | None
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


class UiConfig(Step):
    """``inferno ui``: MLflow's pages on the store."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
