"""The configuration of ``inferno interpolate``: that of a training, and what makes signals at new parameters."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from inferno_cli.config.steps import FolderStep, TrainConfig
from inferno_cli.errors import closest
from inferno_cli.section import Finite, Names, Positive, Section

Point = Annotated[tuple[Finite, ...], Field(min_length=1)]


def _points(value: Any) -> Any:
    """Return one point as a tuple of points, and a list of points as one."""
    if not isinstance(value, list | tuple):
        return value
    is_one = bool(value) and not isinstance(value[0], list | tuple)
    points = [value] if is_one else value
    return tuple(tuple(point) if isinstance(point, list) else point for point in points)


Points = Annotated[tuple[Point, ...], BeforeValidator(_points)]
"""Points of the space of the parameters: [300, 170], or a list of such."""


class Flow(Section):
    """Masked autoregressive flows (arXiv:1705.07057) of the features given the parameters, and their training."""

    transforms: Annotated[int, Field(ge=1)]
    """Autoregressive layers; the order of the features alternates."""
    hidden: tuple[Annotated[int, Field(ge=1)], ...]
    """Units of each hidden layer in each of them."""
    activation: Literal["relu", "elu", "silu", "tanh"]
    """Activation function of the hidden layers."""
    members: Annotated[int, Field(ge=2)]
    """Flows with other first weights and batches; their spread is the error of the interpolation."""
    iterations: Annotated[int, Field(ge=1)]
    """Steps of Adam; the best state on the validation events is kept."""
    batch_size: Annotated[int, Field(ge=2)]
    """Events of a batch, over all points."""
    learning_rate: Positive
    """Learning rate of Adam."""
    validate_every: Annotated[int, Field(ge=1)]
    """Iterations between two looks at the validation events."""


class Pulls(Section):
    """The comparison of flow and simulation in bins."""

    features: Names | None
    """Axes of the histogram; null: the first two features, or the one that there is."""
    bins: Annotated[int, Field(ge=2)]
    """Equal bins of each axis."""
    half_range: Positive
    """Reach of an axis about the mean of a point, in standard deviations of its events."""
    flow_events: Annotated[int, Field(ge=100)]
    """Events drawn from each member at each point, scaled to the events of the simulation."""
    min_events: Positive
    """Bins in which the simulation expects fewer events are left out."""


class Size(Section):
    """Numbers of one of the sizes of an experiment; null: as it is said elsewhere."""

    train: int | None = None
    """Training events of each signal."""
    validation: int | None = None
    """Validation events of each signal."""
    template: int | None = None
    """Events of each signal that flows are compared with."""
    iterations: int | None = None
    """Steps of Adam."""
    batch_size: int | None = None
    """Events of a batch."""
    learning_rate: Positive | None = None
    """Learning rate of Adam."""
    members: int | None = None
    """Flows of the ensemble."""
    flow_events: int | None = None
    """Events drawn from each member at each point."""


class InterpolateConfig(TrainConfig):
    """``inferno interpolate``: signals at new parameters, and the model whose bins they are fitted in."""

    scale: Literal["quick", "published"]
    """Which of the sizes an experiment takes its numbers from."""
    sizes: dict[Literal["quick", "published"], Size]
    """Numbers of both sizes."""
    flow: Flow
    held_out: Points
    """Points of the grid whose events train no flow: what is found there is what interpolation is worth."""
    folds: Literal["leave_one_out"] | Annotated[int, Field(ge=2)] | None
    """Further flows, each without a part of the other points: so many parts, or each point once; null: none."""
    pulls: Pulls
    yields: Literal["gp"] | None
    """Yields at new parameters: a Gaussian process of the logarithm of the yield; null: none."""
    parametrised: bool
    """The parameters are inputs of the network of the model, and one training is for all points of ``at``."""
    at: Points
    """New parameters, [300, 170] or a list of such: for each a workspace for `inferno fit`; []: none."""

    def require_divisible(self) -> None:
        """Raise ValueError: there are no trainings to divide."""
        FolderStep.require_divisible(self)

    @property
    def parameter_names(self) -> Names:
        """Parameters of the signals, in the order of the first of them."""
        for values in self.dataset.sample_parameters.values():
            return tuple(values)
        return ()

    @property
    def wants_limit(self) -> bool:
        """Whether limits are asked for, with ``fit.limit``."""
        return bool(self.fit.every()["limit"].is_wanted)

    @property
    def grid_names(self) -> Names:
        """Signals with parameters."""
        return tuple(name for name in self.signal_names if name in self.dataset.sample_parameters)

    @property
    def points(self) -> dict[str, tuple[float, ...]]:
        """Parameters of each of these signals."""
        found = {}
        for name in self.grid_names:
            values = self.dataset.sample_parameters[name]
            found[name] = tuple(values[parameter] for parameter in self.parameter_names)
        return found

    @model_validator(mode="after")
    def _grid(self) -> Self:
        self._require_grid()
        self.trainer.require_one()
        for key, points in (("held_out", self.held_out), ("at", self.at)):
            for point in points:
                if len(point) != len(self.parameter_names):
                    raise ValueError(
                        f"{key}: {list(point)} has {len(point)} values, and the signals have the parameters "
                        f"{', '.join(self.parameter_names)}"
                    )
            # Folders and signals have the names of points in six digits.
            named = {tuple(f"{value:g}" for value in point) for point in points}
            if len(named) < len(points):
                raise ValueError(f"{key}: a point is there twice, in six digits; name each of them once")
        every = set(self.points.values())
        for point in self.held_out:
            if point not in every:
                near = min(every, key=lambda other: sum((a - b) ** 2 for a, b in zip(other, point, strict=True)))
                raise ValueError(f"held_out: {list(point)} is no point of the grid; the nearest is {list(near)}")
        if self.at and self.yields is None:
            raise ValueError("at: a template needs a yield, and yields is null; set yields=gp")
        self._require_templates()
        if len(set(self.pulls.features or ())) < len(self.pulls.features or ()):
            raise ValueError(f"pulls.features: {', '.join(self.pulls.features or ())} has a feature twice")
        for name in self.pulls.features or ():
            if name not in self.dataset.features:
                raise ValueError(f"pulls.features: unknown feature {name!r}{closest(name, self.dataset.features)}")
        return self

    def _require_templates(self) -> None:
        """Check what templates need, before the flows are trained."""
        if not self.at:
            return
        if len(self.fitted_channels) > 1:
            found = ", ".join(self.fitted_channels)
            raise ValueError(f"at: a template is of one channel, found {found}; take channels=one")
        if not set(self.sample_names) - set(self.signal_names):
            raise ValueError("at: the dataset has no background, and a signal alone cannot be fitted; leave out at")
        if self.parametrised and not self.model.is_trained:
            raise ValueError(
                f"parametrised: nothing of model {self.model.name!r} is trained, and parameters are inputs of a "
                "network; take model=bce"
            )

    def _require_grid(self) -> None:
        """Check that there are enough signals with the same parameters, each at a point of its own."""
        names = set(self.parameter_names)
        for sample, values in self.dataset.sample_parameters.items():
            if set(values) != names:
                raise ValueError(
                    f"dataset: the signal {sample!r} has the parameters {', '.join(values)}, and others have "
                    f"{', '.join(self.parameter_names)}; give every signal of the grid the same"
                )
        left = len(self.points) - len(self.held_out)
        if left < 3:
            raise ValueError(
                f"dataset: {left} signals with parameters are left to train on, expected at least 3. Say what each was "
                "generated with, dataset.samples.NAME.parameters={m_X: 300}, or choose +experiment=means"
            )
        if isinstance(self.folds, int) and self.folds > left:
            raise ValueError(
                f"folds is {self.folds}, and {left} points are left to divide; take at most {left}, or leave_one_out"
            )
        if len(set(self.points.values())) < len(self.points):
            raise ValueError("dataset: two signals have the same values of all parameters; merge them into one sample")
        if self.dataset.n_folds > 1:
            raise ValueError("dataset.splits.folds: flows are trained on a split; give train, validation and template")
