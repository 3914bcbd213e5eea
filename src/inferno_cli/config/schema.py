"""The sections that the steps' configurations are made of: every key, its type and its range.

The YAML files under ``conf`` give the values; these classes say which are allowed. A key that is not here is an
error, also when it was added with ``+`` or ``++``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, field_validator, model_validator

from inferno_cli.choices import any_of
from inferno_cli.errors import ConfigError, closest
from inferno_cli.progress import Mode
from inferno_cli.section import Colour, Finite, Names, NonNegative, Positive, Section, Shown, require_name
from inferno_cli.training.metrics import require_metric
from inferno_cli.training.networks import Network
from inferno_cli.training.objectives import Objective
from inferno_cli.training.summaries import Summary

if TYPE_CHECKING:
    AnyNetwork: TypeAlias = Network
    AnySummary: TypeAlias = Summary
    AnyObjective: TypeAlias = Objective
else:
    AnyNetwork = any_of("inferno_cli.training.networks", Network)
    AnySummary = any_of("inferno_cli.training.summaries", Summary)
    AnyObjective = any_of("inferno_cli.training.objectives", Objective)


class Model(Section):
    """A network, the summary of its outputs and what it is trained for; and values that these and the trainer take.

    A value goes where an interpolation asks for it, as ``hidden: ${model.hidden}`` in conf/model/network/mlp.yaml, and
    is checked there.
    """

    name: str
    """Name of the choice in every output: a file in conf/model."""
    title: Shown = ""
    """What tables and plots call it; empty: its name."""
    network: AnyNetwork
    """Features to outputs."""
    summary: AnySummary
    """Outputs to bins of a histogram."""
    objective: AnyObjective
    """What the network is trained for."""
    bins: Any = None
    """Bins of the histogram before sparse ones are merged: for the summary."""
    edges: Any = None
    """Edges of the bins of a classifier's score: for the summary."""
    cuts: Any = None
    """Features with a cut and the side that passes, {NAME: above}, or how many: for the network and the summary."""
    features: Any = None
    """Features that are scores, or are binned, {NAME: edges or number of bins}; or how many of the first."""
    file: Any = None
    """ONNX file of a network of anybody: for the network."""
    parameters: Any = None
    """Nuisance parameters that are inputs: for the network."""
    temperature: Any = None
    """Temperature of the softmax: for the summary."""
    bandwidth: Any = None
    """Standard deviation of the kernel of a kernel density estimate, in bins: for the summary."""
    hidden: Any = None
    """Units of each hidden layer: for the network."""
    activation: Any = None
    """Activation function of the hidden layers: for the network."""
    warm_up: Any = None
    """Share of the epochs that prepare the network: for the objective."""
    learning_rate: Any = None
    """Learning rate of AdamW at its maximum: for the trainer."""
    weight_decay: Any = None
    """Weight decay of AdamW: for the trainer."""
    batch_size: Any = None
    """Nominal events of all samples in one batch: for the trainer."""
    input_noise: Any = None
    """Noise on the features, in standard deviations of each: for the trainer."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.objective.one_output_a_sample and not self.summary.one_output_a_sample:
            raise ValueError(
                f"{self.objective.kind!r} has one output for each sample, and the summary {self.summary.kind!r} takes "
                f"{self.summary.n_outputs} for other things; choose model/summary=categories"
            )
        if self.summary.n_trained and not self.objective.sees_bins:
            raise ValueError(
                f"the bins of the summary {self.summary.kind!r} are learnt, and {self.objective.kind!r} does not "
                "depend on them; choose model/objective=poi_variance, or for a score model.edges=balanced"
            )
        if self.network.is_told and (self.objective.sees_bins or self.objective.nominal_only):
            raise ValueError(
                f"the network {self.network.kind!r} is told by how much events are varied, which the bins of a fit are "
                f"not, and {self.objective.kind!r} is of these bins or of nominal events alone; choose "
                "model/objective=augmented_cross_entropy"
            )
        for part in (self.network, self.objective):
            if part.only_outputs not in (None, self.summary.n_outputs):
                raise ValueError(
                    f"{part.kind!r} is for a network of {part.only_outputs} outputs, and the summary "
                    f"{self.summary.kind!r} takes {self.summary.n_outputs}; choose another model/summary"
                )
        return self

    @property
    def is_trained(self) -> bool:
        """Whether an objective has anything to train, in the network or in its summary."""
        return self.network.is_trained or self.summary.n_trained > 0

    def of_the_network(self) -> dict[str, Any]:
        """Return what a trained network depends on, by what it is called on the command line."""
        parts: dict[str, tuple[Section, set[str]]] = {
            "network": (self.network, set(type(self.network).model_fields)),
            "summary": (self.summary, {"kind", *self.summary.fixed}),
            "objective": (self.objective, {"kind", *self.objective.fixed}),
        }
        values: dict[str, Any] = {"model": self.name}
        for part, (section, keys) in parts.items():
            for key, value in section.model_dump(mode="json", include=keys).items():
                own = f"model/{part}" if key == "kind" else f"model.{part}.{key}"
                values[f"model.{key}" if key in Model.model_fields else own] = value
        return values


SNAPSHOTS = 4
"""Late epochs of each of several members in their mean, where nothing else is said."""


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
    learning_rate: Positive
    """Learning rate of AdamW at its maximum."""
    weight_decay: NonNegative
    """Weight decay of AdamW."""
    batch_size: Annotated[int, Field(ge=2)]
    """Nominal events of all samples in one batch."""
    input_noise: NonNegative
    """Noise on the features while training, in standard deviations of each: keeps a network from learning by heart."""
    schedule: Literal["constant", "cosine", "one_cycle"]
    """How the learning rate goes on over the epochs."""
    gradient_clip: NonNegative
    """Largest norm of the gradient; 0 switches clipping off."""
    select: str | None = None
    """Metric of the hard bins of the validation split that chooses the epoch; null: what the objective minimises."""
    early_stopping: Annotated[int, Field(ge=1)] | None
    """Stop after so many epochs without a better hard validation value; null: never."""
    members: Annotated[int, Field(ge=1)] = 1
    """Trainings of each network, with other first weights, batches and noise."""
    combine: Literal["mean", "best"] = "mean"
    """What is made of several members: their `mean` as one network, or the `best` on the validation split."""
    snapshots: Annotated[int, Field(ge=0)] | None = None
    """Of each member, late epochs in the mean beside the selected one; null: 4 of several members, none of one."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Processes that train folds and members; the result is the same. With several, a search prunes no trial."""
    progress: Mode
    """How far the training is: a bar on a terminal, lines in a log."""

    @property
    def n_snapshots(self) -> int:
        """Late epochs of each training that its mean has beside the selected one."""
        if self.combine == "best":
            return 0
        if self.snapshots is None:
            return SNAPSHOTS if self.members > 1 else 0
        return self.snapshots

    def require_one(self) -> None:
        """Raise ValueError where a network is to be trained several times: a step makes no mean of them."""
        if self.members > 1:
            raise ValueError("trainer.members: one network is trained; repeat it with other seeds, -m 'seed=range(5)'")
        if self.snapshots:
            raise ValueError("trainer.snapshots: they are for the mean that `inferno train` makes; leave it out")

    @field_validator("select")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None:
            require_metric(name)
        return name

    @model_validator(mode="after")
    def _no_snapshots_of_the_best(self) -> Self:
        if self.combine == "best" and self.snapshots:
            raise ValueError("snapshots: they are for a mean, and combine is 'best'; leave one of them out")
        return self


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
    symmetrise: Annotated[float, Field(ge=0, le=1)] | None = None
    """Smallest p-value at which the even part of a shape counts as noise, and is left out; null: it never does."""
    prune: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Leave effects out of the fit whose relative change of a sample is below this, and tell; null: none."""
    poi_bounds: tuple[Finite, Finite]
    """Range of mu in the fit, and of every other POI."""


class Binning(Section):
    """When neighbouring bins are merged, before any information matrix is taken (see histograms.binning)."""

    min_yield: Positive
    """Smallest expected yield of a bin."""
    min_effective_events: Annotated[float, Field(ge=1)]
    """Smallest effective number of simulated events of a bin, (sum w)^2 / sum w^2."""
    merge_noise: bool = False
    """Merge neighbours while the error of mu, with the noise of the variations in it, gets smaller."""
    max_noise_information: Positive
    """Share of what the fit knows of a nuisance parameter that noise of its variations may make; above, a note."""


class Coverage(Section):
    """Pseudo-experiments whose truth is known: events that pass the network, fitted with the templates of the run.

    The nominal parameters and the priors are combined with every true mu, the others with mu = 1.
    """

    experiments: Annotated[int, Field(ge=2)] = 1000
    """Pseudo-experiments of every truth."""
    mu: Annotated[tuple[NonNegative, ...], Field(min_length=1)] = (0.5, 1.0, 1.5, 2.0)
    """True values of mu."""
    nuisance: Annotated[tuple[Literal["nominal", "each", "together", "priors"], ...], Field(min_length=1)] = (
        "nominal",
        "each",
        "priors",
    )
    """True nuisance parameters: nominal, each one at +1 and at -1, all together there, or drawn from their priors."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Processes that fit; the result does not depend on it."""


def _addressable(name: str) -> str:
    if not re.fullmatch(r"[^/@:'\"]+", name):
        raise ValueError(f"{name!r} cannot be the name of a registered model: leave out / @ : and quotes")
    return name


ModelName = Annotated[str, AfterValidator(_addressable)]
"""What a registered model may be called: its address is models:/NAME/VERSION or models:/NAME@ALIAS."""


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
    register_as: ModelName | None = None
    """Name of the model in MLflow's registry of which a finished run becomes the next version."""
    system_metrics: bool = False
    """Log the load of processors, memory, disk, network and GPUs while a run works, every 10 s."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.backend == "mlflow" and (self.uri is None or self.experiment is None):
            raise ValueError("backend 'mlflow' needs uri and experiment")
        return self


class ShownSample(Section):
    """How a sample, or a group of samples, looks in plots; tables and files keep its name."""

    title: Shown | None = None
    """What plots call it, with formulas as matplotlib writes them; null: its name."""
    colour: Colour | None = None
    """Its colour, such as "#3f90da" or darkorange; null: one is chosen."""


class Report(Section):
    """What is drawn, and how. The label of a dataset stands on every plot, whatever is said here."""

    plots: bool
    """Draw at all."""
    formats: Annotated[tuple[Literal["png", "pdf", "svg"], ...], Field(min_length=1)]
    """File formats of the plots."""
    experiment: Shown = ""
    """Name at the upper left of every plot, such as CMS."""
    status: Shown = ""
    """What stands behind it, such as Preliminary, Simulation or Private work."""
    luminosity: Positive | Shown | None = None
    """Integrated luminosity at the upper right: a number in 1/fb, or a text; times ``dataset.downsample_factor``."""
    energy: Positive | Shown | None = None
    """Centre-of-mass energy beside it: a number in TeV, or a text."""
    samples: dict[str, ShownSample] = Field(default_factory=dict)
    """How samples and groups look, by name."""
    groups: dict[str, Annotated[Names, Field(min_length=1)]] = Field(default_factory=dict)
    """Samples that are drawn as one, by the name of the group: {Other: [WW, WZ, ZZ]}."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        seen: dict[str, str] = {}
        for group, samples in self.groups.items():
            require_name(group, "groups")
            for name in samples:
                if name in seen:
                    raise ValueError(f"groups: {name!r} is in {seen[name]!r} and in {group!r}; take it out of one")
                seen[name] = group
        return self

    def over(self, other: Report) -> Report:
        """Return this with what ``other`` says about the look of plots where this says nothing."""
        missing = {}
        for name in ("experiment", "status", "luminosity", "energy", "samples", "groups"):
            if not getattr(self, name):
                missing[name] = getattr(other, name)
        return self.model_copy(update=missing)

    def check(self, samples: Names, signal: Names) -> None:
        """Raise ConfigError for a sample that is not there, or a group that cannot be drawn."""
        known = (*samples, *self.groups)
        for name in self.samples:
            if name not in known:
                raise ConfigError(f"report.samples: there is no sample {name!r}{closest(name, known)}")
        for group, members in self.groups.items():
            if group in samples and group not in members:
                raise ConfigError(
                    f"report.groups: {group!r} is also a sample; rename the group, or put the sample into it"
                )
            for name in members:
                if name not in samples:
                    raise ConfigError(f"report.groups.{group}: there is no sample {name!r}{closest(name, samples)}")
            if 0 < len(set(members) & set(signal)) < len(set(members)):
                raise ConfigError(
                    f"report.groups.{group} holds signal and background, which are drawn apart; divide it"
                )
