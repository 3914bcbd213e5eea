"""What every kind of dataset answers for itself; each kind is a file of ``events/sources``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from inferno_cli.errors import DatasetError, closest
from inferno_cli.events.assignment import FileTree, Parts, SplitAssignment
from inferno_cli.events.channels import Cells, Channels, everything
from inferno_cli.events.earlier import Earlier
from inferno_cli.events.effects import AnySystematic, Effect, effects, require_consistent
from inferno_cli.events.features import Inputs
from inferno_cli.events.sample import Events, FloatArray, Sample
from inferno_cli.events.systematic import Origin
from inferno_cli.events.validation import Validated
from inferno_cli.section import POI, REGION, Names, Seed, require_group, require_name

SUMS = ("total", "all backgrounds", "observed")
"""What tables and records call several samples together, or the data."""


@dataclass(frozen=True)
class Request:
    """What a run needs of its dataset: samples, signal first, what the systematics do to them, a seed, and channels.

    The seed is that of the events, or of how they are divided. With what an ``earlier`` training used events for, those
    that it knows are divided as there, and all new ones are in the templates.
    """

    samples: Names
    effects: tuple[Effect, ...]
    seed: int
    channels: Channels = field(default_factory=everything)
    earlier: Earlier | None = None

    def divided(self, sample: Sample, cells: Cells) -> list[tuple[Sample, NDArray[np.intp]]]:
        """Divide a sample into the channels, each with its own variations, see ``Channels.divided``."""
        only: dict[str, str] = {}
        for effect in self.effects_on(sample.name):
            if effect.channel:
                only |= dict.fromkeys(effect.members, effect.channel)
        found = []
        for part, rows in self.channels.divided(sample, cells):
            of_others = [label for label, channel in only.items() if channel != part.channel]
            found.append((part.without(of_others), rows))
        return found

    def require_acting(self, samples: Sequence[Sample]) -> None:
        """Check that every parameter of one channel has events there, given all samples in all channels.

        Raises:
            DatasetError: If one has none: nothing depends on it, and without a constraint no fit can end.
        """
        present = {(sample.channel, sample.name) for sample in samples}
        touched: dict[tuple[str, str, str], list[str]] = {}
        for effect in self.effects:
            if effect.channel:
                touched.setdefault((effect.systematic, effect.channel, effect.parameter), []).append(effect.sample)
        for (systematic, channel, parameter), names in touched.items():
            if not any((channel, name) in present for name in names):
                raise DatasetError(
                    f"systematics.{systematic}: no event of {', '.join(names)} is in channel {channel!r}, and nothing "
                    f"depends on its parameter {parameter!r}. Name the samples that the channel has: "
                    f"channels.{channel}.samples"
                )

    def effects_on(self, sample: str) -> list[Effect]:
        """Return the effects on one sample."""
        return [effect for effect in self.effects if effect.sample == sample]


@dataclass(frozen=True)
class LogRatio:
    """Logarithm of the ratio of the exact densities, signal to background: ``square @ x^2 + linear @ x + constant``.

    Attributes:
        square, linear: Coefficients, shape (n_features,) each.
        constant: At the origin.
        odds: Expected signal events for each background event.
    """

    square: FloatArray
    linear: FloatArray
    constant: float
    odds: float

    def signal_share(self, x: FloatArray) -> FloatArray:
        """Return the expected share of signal at ``x``, shape (..., n_features); shape (...)."""
        logarithm = np.log(self.odds) + x**2 @ self.square + x @ self.linear + self.constant
        return np.asarray(1 / (1 + np.exp(-logarithm)))


class Dataset(Origin):
    """What every dataset has, and what it is asked.

    A kind derives from this, and adds ``kind: Literal[...]``, its own keys, ``features``, ``sample_names``,
    ``signal_names``, ``load`` and ``validated``. One that is read from files overrides what is asked of files.
    """

    name: str
    """Name of the dataset in every output."""
    seed: Seed | None = None
    """Seed of the events, or of how they are divided; null: that of the run, so that a number varies training alone."""
    downsample_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the luminosity: scales every expected yield, and takes that share of the data."""
    systematics: dict[str, AnySystematic]
    """What can vary, by name."""

    kind: str
    """Name of the kind."""

    made_by: ClassVar[Names] = ()
    """Keys that decide which events are generated, beside the seed; of files none."""

    # ------------------------------------------------------------------------------------------ what it holds
    @property
    @abstractmethod
    def sample_names(self) -> Names:
        """Samples of the likelihood, signal first."""

    @property
    @abstractmethod
    def signal_names(self) -> Names:
        """Those that a POI scales."""

    @property
    def pois(self) -> dict[str, Names]:
        """Parameters of interest, mu, that of the measurement, first, and the signals that each of them scales."""
        return {POI: self.signal_names}

    @property
    def sample_parameters(self) -> Mapping[str, Mapping[str, float]]:
        """Values of the parameters, such as masses, that signals were generated with, by sample; others have none."""
        return {}

    def has_events(self, sample: str) -> bool:
        """Whether a sample has events; else it is a histogram in those channels that have one of it."""
        return True

    @property
    def inputs(self) -> Inputs:
        """What goes into the network, and how it is computed of the branches of a file."""
        return Inputs.of_branches(self.features)

    @property
    def common_selection(self) -> str | None:
        """Which events of a file are taken, whatever sample they are of; None: all."""
        return None

    @property
    def n_folds(self) -> int:
        """Number of networks that its events are divided for."""
        return 1

    @property
    def has_observed(self) -> bool:
        """Whether there are observed events."""
        return True

    @property
    def observed_name(self) -> str | None:
        """Name that the observed events have among the samples of its files; None: they have none."""
        return None

    @property
    def origin(self) -> str:
        """Where the events are from, for messages."""
        return f"the files of {self.location}" if self.has_files else "the generated events"

    @abstractmethod
    def load(self, request: Request) -> Events:
        """Generate or read the events of a run, in three splits.

        Raises:
            DatasetError: If the events cannot be used.
            TemplateError: If a yield is not positive.
        """

    @abstractmethod
    def validated(self, request: Request, source_branches: Names) -> Validated:
        """Generate or read every event that is there, and say what is odd about them.

        Branches of ``source_branches`` name the generated event that a row is made from.

        Raises:
            DatasetError: Whatever ``load`` refuses but features that are not finite, which are described; and source
                events with rows in more than one split.
            TemplateError: If a yield is not positive.
        """

    # ----------------------------------------------------------------------------- where its densities are known
    def exact_classifier(self) -> LogRatio | None:
        """Return the best classifier that there is; None: the densities are not known."""
        return None

    def log_density(self, sample: str, features: FloatArray) -> FloatArray | None:
        """Return the logarithm of the density of a sample, shape (n_events,), at features (n_events, n_features).

        None: it is not known.
        """
        return None

    def quoted_signal(self) -> float | None:
        """Return the signal events that ``mu = 1`` stands for, where people quote their number; None: they do not."""
        return None

    def cramer_rao_bound(self, fitted: Names, unconstrained: Names) -> float | None:
        """Return the smallest possible standard deviation of the signal events, for any summary of the data.

        The systematics of ``fitted`` are nuisance parameters, some of them without a constraint; the others are known.
        None: the densities are not known.
        """
        return None

    def pseudo_data(
        self, request: Request, mu: float, values: Mapping[str, float], rng: np.random.Generator
    ) -> NDArray[np.float32] | None:
        """Draw the events of one experiment with true parameters, shape (n_events, n_features).

        Their number fluctuates. ``values`` has nuisance parameters by name, each as ``Systematic.true_yield`` takes it;
        the others are nominal. None: events can only be taken from what was simulated.
        """
        return None

    def cells(self, channels: Channels, features: NDArray[np.float32]) -> Cells:
        """Return the cells of generated events in some channels, shape (n_events,); features (n_events, n_features)."""
        raise NotImplementedError(f"{type(self).__name__} has pseudo_data and does not say which channel events are in")

    # ------------------------------------------------------------------------------------ where it is read from files
    @property
    def location(self) -> str:
        """Where its files are, as the configuration says it."""
        return ""

    @property
    def location_hint(self) -> str:
        """What there is to say about that where they are not found, such as that a path is relative."""
        return ""

    def division(self, request: Request) -> dict[str, Any] | None:
        """Return what decides which event is in which split, by key; None: the splits are generated independently."""
        return None

    def files(self, request: Request) -> dict[Path, str]:
        """Return the files that a run would read now, and the SHA-256 of each."""
        return {}

    def friends_of(self, path: Path, tree: str) -> tuple[FileTree, ...]:
        """Return the trees with more branches of the rows of a tree."""
        return ()

    def trees(self) -> Mapping[FileTree, Parts]:
        """Return the trees that the configuration names and the files hold, also those that a run leaves out."""
        return {}

    def earlier(self, trained_on: Dataset, stored: SplitAssignment) -> Earlier | None:
        """Return how events of a dataset that a network was trained on are recognised here; None: they cannot be.

        Args:
            trained_on: That dataset.
            stored: What the run of the training wrote down.

        Raises:
            RunError: If a key decides it that is not the same.
        """
        return None

    def assignment(
        self, request: Request, folder: Path, checksum: str, trees: Sequence[FileTree], elsewhere: str | None
    ) -> SplitAssignment | None:
        """Return which rows of some trees a finished run used for what; None: that cannot be told any more.

        Args:
            request: What the run needed.
            trees: The trees whose rows will be looked up.
            elsewhere: Another place where its dataset may be now.

        Raises:
            RunError: If what the run wrote down is damaged.
        """
        return None

    # ------------------------------------------------------------------------------------------------------- checks
    def check(self) -> None:
        """Raise ValueError, with the key in front, if its own keys contradict each other."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Check the names, and the samples, features and parameters that the systematics name."""
        self.check()
        require_name(self.name, "name")
        samples = self.sample_names
        for name in samples:
            if name in SUMS:
                raise ValueError(
                    f"samples: {name!r} means something else in tables and records (all samples, or the data); "
                    "rename it"
                )
        for name in self.features:
            require_name(name, "features")
        for name, systematic in self.systematics.items():
            key = f"systematics.{name}"
            require_name(name, "systematics")
            if systematic.modifier_name is not None:
                require_name(systematic.modifier_name, f"{key}.modifier_name")
            if systematic.group is not None:
                require_group(systematic.group, f"{key}.group")
            for sample in systematic.samples:
                if sample not in samples:
                    raise ValueError(f"{key}.samples: unknown sample {sample!r}{closest(sample, samples)}")
            systematic.check(key, self)
        every = effects(self.systematics, tuple(self.systematics), samples, self.eras_of)
        require_consistent(every)
        _require_free(every, samples, tuple(self.pois))
        return self


def _require_free(every: Sequence[Effect], samples: Names, pois: Names) -> None:
    """Check that no parameter or sample has a name that means something else in the fit."""
    staterror = f"staterror_{REGION}"
    taken = {
        "all": "stands for every parameter in the lists of fit",
        staterror: "is the statistical error of the templates",
    }
    for poi in pois:
        if poi in taken or poi.startswith(f"{staterror}["):
            raise ValueError(f"samples: the poi {poi!r} {taken.get(poi, taken[staterror])}; rename it")
        if poi in samples:
            raise ValueError(f"samples: the poi {poi!r} has the name of a sample; rename one of the two")
    taken |= dict.fromkeys(pois, "is a parameter of interest") | {POI: "is the parameter of interest"}
    free_shapes: dict[str, str] = {}
    for effect in every:
        key = f"systematics.{effect.systematic}"
        meaning = taken.get(staterror if effect.parameter.startswith(f"{staterror}[") else effect.parameter)
        if meaning is not None:
            raise ValueError(f"{key}: {effect.parameter!r} {meaning}; rename the parameter")
        shape = f"{effect.sample}@{effect.parameter}"
        meant = f"what the effect of {effect.parameter!r} on {effect.sample!r} is called where it has no constraint"
        if shape in samples:
            raise ValueError(f"samples: {shape!r} is {meant}; rename the sample")
        if free_shapes.setdefault(shape, meant) != meant:
            raise ValueError(f"{key}: {shape!r} is {meant}, and {free_shapes[shape]}; rename the systematic")
