"""The schema of the whole configuration: every key, its type and its range.

The YAML files under ``conf`` give the values; these classes say which are allowed. A key that is not here is an
error, also when it was added with ``+`` or ``++``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Names = tuple[str, ...]

POI = "mu"


class Section(BaseModel):
    """A part of the configuration: frozen, strict, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


# ---------------------------------------------------------------------------------------------- systematics
class Systematic(Section):
    """What every systematic uncertainty has."""

    samples: Annotated[Names, Field(min_length=1)]
    """The samples that it touches."""


class ShapeSystematic(Systematic):
    """Events shifted and selected again, in trees of their own (jet energy scale, ...)."""

    kind: Literal["shape"]
    normalisation: bool = True
    """Keep the change of the yield; without it only the shape varies."""


class WeightSystematic(Systematic):
    """The nominal events with other weights; expressions may use ``weight`` for the nominal one."""

    kind: Literal["weight"]
    up: str
    down: str
    normalisation: bool = True


class TransformSystematic(Systematic):
    """An exact change of one parameter of the synthetic mixture by ``width``."""

    kind: Literal["transform"]
    parameter: Literal["r", "lambda"]
    width: Positive
    """One standard deviation of the constraint, and the step of the templates."""


class NormalisationSystematic(Systematic):
    """A log-normal-like change of the yield, relative: one number, or one for up and one for down."""

    kind: Literal["normalisation"]
    size: (
        Annotated[float, Field(gt=0, lt=1)]
        | tuple[Annotated[float, Field(gt=-1, lt=1)], Annotated[float, Field(gt=-1, lt=1)]]
    )

    @property
    def factors(self) -> tuple[float, float]:
        """Yield at +1 and at -1 standard deviation, relative to the nominal."""
        up, down = self.size if isinstance(self.size, tuple) else (self.size, -self.size)
        return 1 + up, 1 + down


class FreeNormalisation(Systematic):
    """A NormFactor: the yield of the samples floats without a constraint."""

    kind: Literal["free"]
    bounds: tuple[Finite, Finite] = (0.0, 10.0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.bounds[0] < 1 < self.bounds[1]:
            raise ValueError(f"bounds {list(self.bounds)} do not contain the nominal value 1")
        return self


AnySystematic = Annotated[
    ShapeSystematic | WeightSystematic | TransformSystematic | NormalisationSystematic | FreeNormalisation,
    Field(discriminator="kind"),
]


# -------------------------------------------------------------------------------------------------- datasets
class Splits(Section):
    """Shares of the events (by event id) for training, model selection and the fitted templates."""

    train: Fraction
    validation: Fraction
    template: Fraction

    @model_validator(mode="after")
    def _complete(self) -> Self:
        total = self.train + self.validation + self.template
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + validation + template is {total:g}, expected 1")
        return self


class MixtureYields(Section):
    """Expected events."""

    signal: Positive
    background: Positive


class MixtureParameters(Section):
    """Nominal parameters of the background."""

    r: Finite
    rate: Annotated[Positive, Field(alias="lambda")]


class GeneratedEvents(Section):
    """Generated events of each split."""

    train: Annotated[int, Field(ge=100)]
    validation: Annotated[int, Field(ge=100)]
    template: Annotated[int, Field(ge=100)]


class SyntheticDataset(Section):
    """The three-dimensional mixture of arXiv:1806.04743, section 4.1."""

    kind: Literal["synthetic"]
    name: str
    yields: MixtureYields
    signal_mean: tuple[Finite, Finite]
    """Mean of (x0, x1) for the signal. The paper prints (1, 1); its code and its tables have (0, 0)."""
    nominal: MixtureParameters
    events: GeneratedEvents
    """Generated events, half of them signal."""
    downsample_factor: Annotated[float, Field(gt=0, le=1)]
    systematics: dict[str, AnySystematic]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        rate = self.nominal.rate
        for name, systematic in self.systematics.items():
            if isinstance(systematic, ShapeSystematic | WeightSystematic):
                raise ValueError(f"systematics.{name}: the synthetic mixture has no trees or weight branches")
            if isinstance(systematic, TransformSystematic):
                if systematic.samples != ("background",):
                    raise ValueError(f"systematics.{name}: r and lambda act on the background alone")
                if systematic.parameter == "lambda" and systematic.width >= rate:
                    raise ValueError(
                        f"systematics.{name}.width is {systematic.width:g}: lambda - width must be above 0 "
                        f"(nominal {rate:g})"
                    )
        return self

    @property
    def sample_names(self) -> Names:
        """Samples of the likelihood, signal first."""
        return ("signal", "background")


class NtupleSample(Section):
    """One sample of the ntuples and its role in the fit."""

    role: Literal["signal", "background", "data"]
    weight: str | None = None
    """Overrides the dataset's weight expression; data has none."""
    split_by: Names | None = None
    """Branches whose values must not be shared between splits, when they differ from the event id."""
    tree: str | None = None
    file: str | None = None


class NtupleDataset(Section):
    """Flat ntuples read with uproot."""

    kind: Literal["ntuples"]
    name: str
    path: str
    """A ROOT file, a folder, a glob, or ``embedded`` for the sample shipped with the package."""
    file: str
    """Glob below ``path`` when that is a folder; may hold {sample} and {variation}."""
    tree: str
    """Name of the tree; may hold {sample} and {variation}."""
    variation: str
    """What {variation} is for a shifted tree; may hold {systematic} and {direction}. Nominal: empty."""
    features: Annotated[Names, Field(min_length=1)]
    event_id: Names
    """Branches that identify an event; they pair the nominal with the shifted trees."""
    weight: str
    """Event weight of simulated samples, an expression of branches."""
    luminosity_scale: Positive
    downsample_factor: Annotated[float, Field(gt=0, le=1)]
    samples: dict[str, NtupleSample]
    splits: Splits
    systematics: dict[str, AnySystematic]

    @model_validator(mode="after")
    def _roles(self) -> Self:
        roles = [sample.role for sample in self.samples.values()]
        for role in ("signal", "background"):
            if role not in roles:
                raise ValueError(f"samples: none has the role {role!r}")
        if roles.count("data") > 1:
            raise ValueError("samples: more than one has the role 'data'")
        for name, systematic in self.systematics.items():
            if isinstance(systematic, TransformSystematic):
                raise ValueError(f"systematics.{name}: kind 'transform' belongs to the synthetic dataset")
            if isinstance(systematic, ShapeSystematic) and not self.event_id:
                raise ValueError(f"systematics.{name}: pairing shifted events needs dataset.event_id")
        return self

    @property
    def sample_names(self) -> Names:
        """Samples of the likelihood, signal first."""
        ordered = sorted(self.samples.items(), key=lambda item: item[1].role != "signal")
        return tuple(name for name, sample in ordered if sample.role != "data")


Dataset = SyntheticDataset | NtupleDataset


# ------------------------------------------------------------------------------------ model, trainer and fit
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


class UiConfig(Step):
    """``inferno ui``: MLflow's pages on the store."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
