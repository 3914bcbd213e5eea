"""Datasets: the synthetic mixture, and flat ntuples."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inferno_cli.config.effects import effects, require_consistent
from inferno_cli.config.systematics import (
    AnySystematic,
    ShapeSystematic,
    ShiftSystematic,
    TransformSystematic,
    WeightSystematic,
)
from inferno_cli.section import (
    POI,
    REGION,
    ExpressionText,
    Finite,
    Fraction,
    Names,
    Positive,
    Section,
    Seed,
    require_group,
    require_name,
)


class Splits(Section):
    """Shares of the events (by event id) for training, model selection and the fitted templates."""

    train: Fraction
    """For the training."""
    validation: Fraction
    """To choose the epoch."""
    template: Fraction
    """For the templates that are fitted."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        total = self.train + self.validation + self.template
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + validation + template is {total:g}, expected 1")
        return self


class MixtureYields(Section):
    """Expected events."""

    signal: Positive
    """Of the signal."""
    background: Positive
    """Of the background."""


class MixtureParameters(Section):
    """Nominal parameters of the background."""

    r: Finite
    """Shift of the mean of x0."""
    rate: Annotated[Positive, Field(alias="lambda")]
    """Rate of the exponential of x2."""


class GeneratedEvents(Section):
    """Generated events of each split."""

    train: Annotated[int, Field(ge=100)]
    """For the training."""
    validation: Annotated[int, Field(ge=100)]
    """To choose the epoch."""
    template: Annotated[int, Field(ge=100)]
    """For the templates that are fitted."""


class SyntheticDataset(Section):
    """The three-dimensional mixture of arXiv:1806.04743, section 4.1."""

    kind: Literal["synthetic"]
    """The mixture."""
    name: str
    """Its name in every output."""
    seed: Seed | None = None
    """Of the generated events; null: that of the run. A number keeps the data and varies the training alone."""
    yields: MixtureYields
    signal_mean: tuple[Finite, Finite]
    """Mean of (x0, x1) for the signal. The paper prints (1, 1); its code and its tables have (0, 0)."""
    nominal: MixtureParameters
    events: GeneratedEvents
    """Generated events, half of them signal."""
    downsample_factor: Annotated[float, Field(gt=0, le=1)]
    """Share of the luminosity: scales every expected yield."""
    systematics: dict[str, AnySystematic]
    """What can vary, by name."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        rate = self.nominal.rate
        require_name(self.name, "name")
        for name, systematic in self.systematics.items():
            if isinstance(systematic, ShapeSystematic | WeightSystematic):
                raise ValueError(f"systematics.{name}: the synthetic mixture has no trees or weight branches")
            if systematic.modifier_name is not None or not systematic.correlated:
                raise ValueError(f"systematics.{name}: on the synthetic mixture every systematic is one parameter")
            if isinstance(systematic, TransformSystematic):
                if systematic.samples != ("background",):
                    raise ValueError(f"systematics.{name}: r and lambda act on the background alone")
                if systematic.parameter == "lambda" and systematic.moved >= rate:
                    key = "width" if systematic.step is None else "step"
                    raise ValueError(
                        f"systematics.{name}.{key} is {systematic.moved:g}: lambda - {key} must be above 0 "
                        f"(nominal {rate:g})"
                    )
        _require_known(self.systematics, self.sample_names, self.features)
        return self

    @property
    def sample_names(self) -> Names:
        """Samples of the likelihood, signal first."""
        return ("signal", "background")

    @property
    def features(self) -> Names:
        """Names of the features."""
        return ("x0", "x1", "x2")


class NtupleSample(Section):
    """One sample of the ntuples and its role in the fit."""

    role: Literal["signal", "background", "data"]
    """mu scales the signal; data are the observed events."""
    weight: ExpressionText | None = None
    """Overrides the dataset's weight expression; data has none."""
    split_by: Names | None = None
    """Branches whose values must not be shared between splits, when they differ from the event id."""
    tree: str | None = None
    """Overrides the dataset's tree."""
    file: str | None = None
    """Overrides the dataset's file."""


class NtupleDataset(Section):
    """Flat ntuples read with uproot."""

    kind: Literal["ntuples"]
    """Ntuples."""
    name: str
    """Its name in every output."""
    seed: Seed | None = None
    """Of the splits and the subset of the data; null: that of the run."""
    path: str
    """A ROOT file, a folder, a glob, or ``embedded`` for the sample shipped with the package."""
    file: str
    """Glob below ``path`` when that is a folder; may hold {sample} and {variation}."""
    tree: str
    """Name of the tree; may hold {sample} and {variation}."""
    variation: str
    """What {variation} is for a shifted tree; may hold {systematic} and {direction}. Nominal: empty."""
    features: Annotated[Names, Field(min_length=1)]
    """Branches that go into the network."""
    event_id: Names
    """Branches that identify an event; they pair the nominal with the shifted trees."""
    weight: ExpressionText
    """Event weight of simulated samples, an expression of branches."""
    luminosity_scale: Positive
    """Multiplies every weight."""
    downsample_factor: Annotated[float, Field(gt=0, le=1)]
    """Share of the luminosity: scales every expected yield, and takes that share of the data."""
    samples: dict[str, NtupleSample]
    splits: Splits
    systematics: dict[str, AnySystematic]
    """What can vary, by name."""

    @model_validator(mode="after")
    def _roles(self) -> Self:
        roles = [sample.role for sample in self.samples.values()]
        for role in ("signal", "background"):
            if role not in roles:
                raise ValueError(f"samples: none has the role {role!r}")
        if twice := [name for i, name in enumerate(self.features) if name in self.features[:i]]:
            raise ValueError(f"features: {', '.join(twice)} is named twice; each branch goes into the network once")
        if roles.count("data") > 1:
            raise ValueError("samples: more than one has the role 'data'")
        for name, systematic in self.systematics.items():
            if isinstance(systematic, TransformSystematic):
                raise ValueError(f"systematics.{name}: kind 'transform' belongs to the synthetic dataset")
            if isinstance(systematic, ShapeSystematic) and not self.event_id:
                raise ValueError(f"systematics.{name}: pairing shifted events needs dataset.event_id")
        require_name(self.name, "name")
        for name in self.samples:
            require_name(name, "samples")
        _require_known(self.systematics, self.sample_names, self.features)
        return self

    @property
    def sample_names(self) -> Names:
        """Samples of the likelihood, signal first."""
        ordered = sorted(self.samples.items(), key=lambda item: item[1].role != "signal")
        return tuple(name for name, sample in ordered if sample.role != "data")


def _require_known(systematics: dict[str, AnySystematic], samples: Names, features: Names) -> None:
    """Check the names of a dataset, and the samples, features and parameters that the systematics name."""
    from inferno_cli.errors import closest

    for name in samples:
        if name in SUMS:
            raise ValueError(
                f"samples: {name!r} means something else in tables and records (all samples, or the data); rename it"
            )
    for name in features:
        require_name(name, "features")
    for name, systematic in systematics.items():
        require_name(name, "systematics")
        if systematic.modifier_name is not None:
            require_name(systematic.modifier_name, f"systematics.{name}.modifier_name")
        if systematic.group is not None:
            require_group(systematic.group, f"systematics.{name}.group")
        for sample in systematic.samples:
            if sample not in samples:
                raise ValueError(f"systematics.{name}.samples: unknown sample {sample!r}{closest(sample, samples)}")
        if isinstance(systematic, ShiftSystematic) and systematic.feature not in features:
            raise ValueError(
                f"systematics.{name}.feature: {systematic.feature!r} is not in dataset.features"
                f"{closest(systematic.feature, features)}"
            )
    require_consistent(systematics, samples)
    _require_free(systematics, samples)


def _require_free(systematics: dict[str, AnySystematic], samples: Names) -> None:
    """Check that no parameter or sample has a name that means something else in the fit."""
    staterror = f"staterror_{REGION}"
    taken = {
        POI: "is the parameter of interest",
        "all": "stands for every parameter in the lists of fit",
        staterror: "is the statistical error of the templates",
    }
    free_shapes: dict[str, str] = {}
    for effect in effects(systematics, tuple(systematics), samples):
        where = f"systematics.{effect.systematic}"
        meaning = taken.get(staterror if effect.parameter.startswith(f"{staterror}[") else effect.parameter)
        if meaning is not None:
            raise ValueError(f"{where}: {effect.parameter!r} {meaning}; rename the parameter")
        shape = f"{effect.sample}@{effect.parameter}"
        meant = f"what the effect of {effect.parameter!r} on {effect.sample!r} is called where it has no constraint"
        if shape in samples:
            raise ValueError(f"samples: {shape!r} is {meant}; rename the sample")
        if free_shapes.setdefault(shape, meant) != meant:
            raise ValueError(f"{where}: {shape!r} is {meant}, and {free_shapes[shape]}; rename the systematic")


SUMS = ("total", "all backgrounds", "observed")
"""What tables and records call several samples together, or the data."""


Dataset = SyntheticDataset | NtupleDataset
