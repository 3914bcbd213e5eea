"""The keys of flat ntuples: where their events are, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from inferno_cli.errors import closest
from inferno_cli.events.dataset import Dataset
from inferno_cli.events.features import AnyFeatures, AnyMissing, Inputs
from inferno_cli.section import POI, ExpressionText, Finite, Fraction, Names, OneOrMore, Positive, Section, require_name

NO_ERA = ""
"""Stands for the era of all files where the dataset names none."""


class Splits(Section):
    """Shares of the events (by event id) for training, model selection and the fitted templates; or folds."""

    train: Fraction | None = None
    """Share for the training."""
    validation: Fraction
    """Share that chooses the epoch; with folds that of the events which a network may see."""
    template: Fraction | None = None
    """Share for the templates that are fitted."""
    folds: Annotated[int, Field(ge=2, le=50)] | None = None
    """Number of networks, each for the events of one fold, which it has not seen: every event is in the templates, and
    the data of a fold are evaluated by its network. ``train`` and ``template`` say nothing then. null: one network."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.folds is not None:
            return self
        if self.train is None or self.template is None:
            raise ValueError("expected train, validation and template, or folds and validation")
        total = self.train + self.validation + self.template
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train + validation + template is {total:g}, expected 1")
        return self

    @property
    def n_folds(self) -> int:
        """Number of networks."""
        return self.folds or 1

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of each split, or of each fold."""
        if self.folds is not None:
            return (1 / self.folds,) * self.folds
        assert self.train is not None
        assert self.template is not None
        return self.train, self.validation, self.template


class Era(Section):
    """One period of data taking: files that are one sample with those of the other eras."""

    luminosity_scale: Positive = 1.0
    """Multiplies the weights of this era, beside that of the dataset."""
    constants: dict[str, Finite] = Field(default={})
    """Numbers of ``norm`` in this era, in place of those of the dataset and the sample."""


def _by_name(value: Any) -> Any:
    """Return one era or a list of them as eras of which nothing else is said."""
    value = [value] if isinstance(value, str | int) else value
    if isinstance(value, list | tuple):
        return {str(name): {} for name in value}
    return {name: item or {} for name, item in value.items()} if isinstance(value, Mapping) else value


class NtupleSample(Section):
    """One sample of the ntuples and its role in the fit."""

    role: Literal["signal", "background", "data"]
    """A POI, mu, scales the signal; data are the observed events."""
    weight: ExpressionText | None = None
    """Overrides the dataset's weight expression; data has none."""
    norm: ExpressionText | None = None
    """Overrides the dataset's norm; "1": the weights as they are."""
    constants: dict[str, Finite] = Field(default={})
    """Numbers of ``norm`` for this sample, such as xsec, in place of those of the dataset."""
    selection: ExpressionText | None = None
    """Events that are taken, an expression of branches, in addition to the dataset's."""
    split_by: Names | None = None
    """Branches whose values must not be shared between splits, when they differ from the event id."""
    tree: str | None = None
    """Overrides the dataset's tree."""
    file: str | None = None
    """Overrides the dataset's file."""
    eras: Annotated[Names, Field(min_length=1)] | None = None
    """Eras that it has files of; null: all."""
    events: bool = True
    """Whether it has events; false: it is in those channels alone that have a histogram of it, see ``channels``."""
    parameters: dict[str, Finite] = Field(default={})
    """Values that this signal was generated with, {m_X: 300, m_S: 170}: a point for `inferno interpolate`."""
    poi: str | None = None
    """Parameter of interest that scales this signal; null: mu, that of the measurement. Others are fitted beside it."""


class NtupleLayout(Dataset):
    """Flat ntuples: their files, trees and branches."""

    eras: Annotated[dict[str, Era], BeforeValidator(_by_name)] = Field(default={})
    """Names that {era} stands for in ``path``, ``file`` and ``tree``, one after the other; or by name, with settings.
    A sample is read from all, and the era is part of what identifies an event."""

    path: OneOrMore
    """A ROOT file, a folder, a glob, an address (root://...), or a list of them; globs and folders may hold {era} and
    {sample}. ``embedded``: the sample shipped with the package. Relative: to the YAML file that names it."""
    cache: str | None = None
    """Folder in which the events are kept once they are read and divided, for the next run that wants the same; null:
    every run reads them."""
    file: str
    """Glob below ``path`` when that is a folder; may hold {sample}, {variation} and {era}."""
    tree: str
    """Name of the tree; may hold {sample}, {variation} and {era}."""
    friends: Names = ()
    """Trees with more branches of the same rows: TREE of the same file, or FILE:TREE beside it; may hold {sample},
    {variation}, {era}, and {stem}, the name of the file without its end."""
    variation: str
    """What {variation} is for a shifted tree; may hold {systematic}, {direction} (up), {Direction} (Up) or {DIRECTION}
    (UP). Nominal: empty."""
    declared_features: AnyFeatures = Field(alias="features")
    """What goes into the network: branches; or NAME: EXPRESSION, or NAME with expression, title, unit and range."""
    missing: dict[str, AnyMissing] = Field(default={})
    """Numbers that stand for none, BRANCH: NUMBER; or BRANCH with is, becomes and indicator."""
    selection: ExpressionText | None = None
    """Events that are taken of every sample, data too, an expression of branches; null: all."""
    event_id: Names
    """Branches that identify an event; they pair the nominal with the shifted trees."""
    weight: ExpressionText
    """Event weight of simulated samples, an expression of branches."""
    norm: ExpressionText | None = None
    """Multiplies the weights of simulated samples, such as xsec * lumi / sum(genWeight): an expression of constants and
    of sums over all rows of its trees in an era, whatever is selected; sum(Runs.genEventSumw) is of another tree."""
    constants: dict[str, Finite] = Field(default={})
    """Numbers of ``norm`` by name, such as lumi."""
    luminosity_scale: Positive = 1.0
    """Multiplies every weight."""
    samples: dict[str, NtupleSample]
    splits: Splits

    def check(self) -> None:
        """Refuse roles and names that contradict each other."""
        if self.splits.folds is not None and not self.event_id:
            raise ValueError(
                f"splits.folds is {self.splits.folds}, and event_id is empty: by its id an event is given to one. "
                "Name the branches of the id, or take train, validation and template"
            )
        for role in ("signal", "background"):
            if not self._with_role(role):
                raise ValueError(f"samples: none has the role {role!r}")
        listed = () if isinstance(self.declared_features, dict) else self.declared_features
        if twice := [name for i, name in enumerate(listed) if name in listed[:i]]:
            raise ValueError(f"features: {', '.join(twice)} is named twice; each branch goes into the network once")
        if len(self._with_role("data")) > 1:
            raise ValueError("samples: more than one has the role 'data'")
        for name, sample in self.samples.items():
            require_name(name, "samples")
            if not sample.events and sample.role == "data":
                raise ValueError(
                    f"samples.{name}.events is false, and these are the data; leave the sample out where there are none"
                )
            for era in sample.eras or ():
                if era not in self.eras:
                    raise ValueError(f"samples.{name}.eras: unknown era {era!r}{closest(era, self.eras)}")
            if sample.poi is not None:
                require_name(sample.poi, f"samples.{name}.poi")
                if sample.role != "signal":
                    raise ValueError(f"samples.{name}.poi: only a signal has one, and the role is {sample.role!r}")
        if POI not in self.pois:
            raise ValueError(
                f"samples: the signals have the POIs {', '.join(self.pois)}, and none has {POI}, that of the "
                "measurement (limit, significance and impacts are of it); leave out the poi of one of them"
            )
        for name in self.eras:
            require_name(name, "eras")
        self.inputs.check()

    def _with_role(self, role: str) -> Names:
        return tuple(name for name, sample in self.samples.items() if sample.role == role)

    @property
    def inputs(self) -> Inputs:
        """What goes into the network; not kept, as ``model_copy`` would keep it, too."""
        return Inputs.of(self.declared_features, self.missing)

    @property
    def common_selection(self) -> str | None:
        """The selection of every sample."""
        return self.selection

    @property
    def n_folds(self) -> int:
        """That of the splits."""
        return self.splits.n_folds

    @property
    def features(self) -> Names:
        """Names of the features."""
        return self.inputs.names

    @property
    def signal_names(self) -> Names:
        """Those that a POI scales."""
        return self._with_role("signal")

    @property
    def pois(self) -> dict[str, Names]:
        """Parameters of interest, mu first, and the signals that each of them scales."""
        found: dict[str, Names] = {}
        for name in self.signal_names:
            poi = self.samples[name].poi or POI
            found[poi] = (*found.get(poi, ()), name)
        return dict(sorted(found.items(), key=lambda item: item[0] != POI))

    @property
    def sample_names(self) -> Names:
        """Samples of the likelihood, signal first."""
        return self.signal_names + self._with_role("background")

    @property
    def sample_parameters(self) -> dict[str, dict[str, float]]:
        """Values of the parameters that signals were generated with, by sample."""
        return {name: sample.parameters for name, sample in self.samples.items() if sample.parameters}

    def has_events(self, sample: str) -> bool:
        """Whether a sample has files with events."""
        return self.samples[sample].events

    @property
    def observed_name(self) -> str | None:
        """The sample of the observed events."""
        return next(iter(self._with_role("data")), None)

    @property
    def paths(self) -> Names:
        """The files, folders and globs."""
        return (self.path,) if isinstance(self.path, str) else self.path

    def eras_of(self, sample: str) -> Names:
        """Eras that the files of a sample are of, in the order of all; empty: they are all of one."""
        own = self.samples[sample].eras
        return tuple(era for era in self.eras if own is None or era in own)

    @property
    def era_keys(self) -> Names:
        """The eras, whose place is their number, or ``NO_ERA`` alone."""
        return tuple(self.eras) or (NO_ERA,)

    def era_keys_of(self, sample: str) -> Names:
        """The eras of a sample, or ``NO_ERA`` alone."""
        return self.eras_of(sample) or (NO_ERA,)

    def constants_of(self, sample: str, era: str) -> dict[str, float]:
        """Return the numbers of the norm of a sample in one era."""
        of_era = self.eras[era].constants if era else {}
        return {**self.constants, **self.samples[sample].constants, **of_era}

    @property
    def id_words(self) -> str:
        """What identifies an event, for messages."""
        return " + ".join((*(["era"] if self.eras else []), *self.event_id))

    @property
    def id_branches(self) -> Names:
        """Branches that identify an event."""
        return self.event_id
