"""The sections that the steps' configurations are made of: every key, its type and its range.

The YAML files under ``conf`` give the values; these classes say which are allowed. A key that is not here is an
error, also when it was added with ``+`` or ``++``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from inferno_cli.choices import any_of
from inferno_cli.progress import Mode
from inferno_cli.section import Finite, Fraction, Names, NonNegative, Positive, Section, require_group
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
    network: AnyNetwork
    """Features to outputs."""
    summary: AnySummary
    """Outputs to bins of a histogram."""
    objective: AnyObjective
    """What the network is trained for."""
    bins: Any = None
    """Bins of the histogram before sparse ones are merged: for the summary."""
    temperature: Any = None
    """Temperature of the softmax: for the summary."""
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
        for part in (self.network, self.objective):
            if part.only_outputs not in (None, self.summary.n_outputs):
                raise ValueError(
                    f"{part.kind!r} is for a network of {part.only_outputs} outputs, and the summary "
                    f"{self.summary.kind!r} takes {self.summary.n_outputs}; choose another model/summary"
                )
        return self

    def of_the_network(self) -> dict[str, Any]:
        """Return what a trained network depends on, by what it is called on the command line."""
        parts: dict[str, tuple[Section, set[str]]] = {
            "network": (self.network, set(type(self.network).model_fields)),
            "summary": (self.summary, {"kind", *self.summary.fixed}),
            "objective": (self.objective, {"kind"}),
        }
        values: dict[str, Any] = {"model": self.name}
        for part, (section, keys) in parts.items():
            for key, value in section.model_dump(mode="json", include=keys).items():
                own = f"model/{part}" if key == "kind" else f"model.{part}.{key}"
                values[f"model.{key}" if key in Model.model_fields else own] = value
        return values


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
    early_stopping: Annotated[int, Field(ge=1)] | None
    """Stop after so many epochs without a better hard validation value; null: never."""
    progress: Mode
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
    symmetrise: Annotated[float, Field(ge=0, le=1)] | None = None
    """Smallest p-value at which the even part of a shape counts as noise, and is left out; null: it never does."""
    poi_bounds: tuple[Finite, Finite]
    """Range of mu in the fit."""


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
    scan: Names
    """Parameters whose profile likelihood is wanted."""
    scan_2d: tuple[tuple[str, str], ...]
    """Pairs of parameters."""
    scan_2d_points: Annotated[int, Field(ge=3)]
    """Points along each axis."""
    significance: bool
    """Of the discovery, from the likelihood ratio of mu = 0."""
    stat_only: bool
    """Fit mu once more with everything else fixed."""
    goodness_of_fit: bool
    """Of observed data; Asimov data fit perfectly by construction."""
    yields: bool
    """Expected events before and after the fit; the plots of data against prediction need them."""
    ranking: Names
    """Parameters whose impact on the POI is wanted: four fits each."""
    breakdown: bool
    """Split the error of the POI by groups of parameters."""
    groups: dict[str, Names] | None
    """Parameters by group, in the order in which they are fixed; the rest is grouped by kind of modifier.

    null and not {}: Hydra merges a mapping on the command line into the one that is there, and refuses new keys.
    """
    bounds: dict[str, tuple[Finite, Finite]] | None
    """Range of parameters in the fit, in the place of that of the workspace."""
    limit: bool
    """Upper limit on the POI with CLs."""
    confidence_level: Fraction
    """Of the limit."""
    limit_bracket: tuple[NonNegative, NonNegative] | None
    """Values of the POI between which all limits lie; null: wherever they are."""
    limit_tolerance: Positive
    """Of the limits, in units of the POI."""
    max_calls: Annotated[int, Field(ge=1)]
    """Most calls of the likelihood in one minimisation."""
    tolerance: Positive
    """MINUIT's: the goal for EDM is 0.002 times this."""
    progress: Mode
    """How far a long part of the fit is."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.groups or {}:
            require_group(name, "groups")
        if self.limit_bracket is not None and self.limit_bracket[0] >= self.limit_bracket[1]:
            raise ValueError("limit_bracket must rise")
        for name, (low, high) in (self.bounds or {}).items():
            if low >= high:
                raise ValueError(f"bounds.{name} is [{low:g}, {high:g}], expected to rise")
        for x, y in self.scan_2d:
            if x == y:
                raise ValueError(f"scan_2d has a pair of {x!r} with itself")
        return self

    def named_parameters(self) -> Iterator[tuple[str, str]]:
        """Yield every name in a list of parameters, with the key of the list."""
        lists = {"minos": self.minos, "scan": self.scan, "ranking": self.ranking}
        lists |= {f"groups.{group}": names for group, names in (self.groups or {}).items()}
        lists |= {"bounds": tuple(self.bounds or {})}
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
