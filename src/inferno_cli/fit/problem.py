"""What is fitted: a pyhf workspace, its model and its parameters, and the data."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from inferno_cli.errors import FitFailedError, UnknownModifierError, WorkspaceError, closest
from inferno_cli.fit.auxiliary import constraint_terms
from inferno_cli.fit.pyhf_rates import PyhfRates
from inferno_cli.likelihood.data import Likelihood
from inferno_cli.likelihood.expectation import expectation
from inferno_cli.likelihood.rates import ExactRates, Rates
from inferno_cli.likelihood.readers.checks import MOST_EVENTS
from inferno_cli.likelihood.readers.pyhf import specification
from inferno_cli.section import POI

Engine = Literal["exact", "pyhf"]
ALL = "all"
"""In a list of parameters: every one that the fit varies."""
REFEREE, REFEREE_SHIFT = 1e-9, 0.05
"""Largest relative difference of our likelihood from pyhf's, and how far from the start the second point is."""
ROUNDING = 1e-12
"""Of the events of a bin, relative to the largest one: samples of many events may cancel each other."""


@dataclass(frozen=True)
class Problem:
    """A model and the data that it is fitted to.

    Attributes:
        model: pyhf's.
        data: With the auxiliary data.
        is_asimov: Whether the data are the unfluctuated expectation at the nominal parameters.
        where: Names the workspace in errors.
        bounds: Of every parameter in the fit: those of the workspace, or of the configuration.
        rates: Its expected events and their derivatives.
        notes: What is to be said of the fit before it begins.
    """

    model: Any
    data: tuple[float, ...]
    is_asimov: bool
    where: str
    bounds: tuple[tuple[float, float], ...]
    rates: Rates
    notes: tuple[str, ...] = ()

    def with_data(self, data: Iterable[float]) -> Self:
        """Return the problem with other data."""
        return replace(self, data=tuple(float(value) for value in data))

    def with_bounds(self, wider: Mapping[str, tuple[float, float]]) -> Self:
        """Return the problem with other bounds of the parameters that names and patterns mean (``fit.bounds``).

        Raises:
            WorkspaceError: If the workspace has no such parameter, or starts it outside of them.
        """
        bounds, start = list(self.bounds), self.model.config.suggested_init()
        for name, (low, high) in wider.items():
            for label in self.parameters([name], f"fit.bounds.{name}"):
                index = self.labels.index(label)
                bounds[index] = (low, high)
                if not low <= start[index] <= high:
                    raise WorkspaceError(
                        f"fit.bounds.{name} is [{low:g}, {high:g}], and {self.where} starts {label} at "
                        f"{start[index]:g}. Take that in"
                    )
        return replace(self, bounds=tuple(bounds))

    def bin_name(self, index: int) -> str:
        """Say which bin a number in all channels together is."""
        for channel, place in self.model.config.channel_slices.items():
            if place.start <= index < place.stop:
                return f"bin {index - place.start} of channel {channel!r}"
        raise IndexError(index)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of the parameters, one per entry of a vector; pyhf makes them anew each time."""
        return tuple(self.model.config.par_names)

    @property
    def poi(self) -> int:
        """Index of the parameter of interest."""
        return int(self.model.config.poi_index)

    @property
    def poi_name(self) -> str:
        """Its name."""
        return str(self.model.config.poi_name)

    @property
    def fixed(self) -> tuple[bool, ...]:
        """Which parameters the measurement holds constant."""
        return tuple(map(bool, self.model.config.suggested_fixed()))

    def floating(self) -> list[str]:
        """Names of the parameters that the fit varies."""
        return [name for name, fixed in zip(self.labels, self.fixed, strict=True) if not fixed]

    def pois(self, others: Iterable[str]) -> tuple[str, ...]:
        """Return the parameters of interest, that of the measurement first, given what ``fit.pois`` says."""
        return tuple(dict.fromkeys((self.poi_name, *self.parameters(others, "fit.pois"))))

    def parameters(self, names: Iterable[str], key: str) -> tuple[str, ...]:
        """Find the parameters that a list in the configuration means, in its order, each once.

        Args:
            names: "all", "mu" (the parameter of interest, whatever its name), the name of a parameter, of one entry
                of a vector ("staterror_SR[0]") or of a vector (all its entries), or a pattern with "*".
            key: The configuration's key, for errors.

        Raises:
            WorkspaceError: If the workspace has no such parameter, or holds constant what was named.
        """
        found: dict[str, None] = {}
        for name in names:
            found |= dict.fromkeys(self._matching(name, key))
        return tuple(found)

    def _matching(self, name: str, key: str) -> list[str]:
        free, vectors = self.floating(), self.model.config.par_map
        if name == POI:
            matching = [self.poi_name]
        elif name in self.labels:
            matching = [name]
        elif name in vectors:
            matching = list(self.labels[vectors[name]["slice"]])
        elif name == ALL:
            return free
        elif "*" in name:
            # Only the star: "[0]" in a name is an index, not a set of characters, and "?" is a character.
            pattern = name.replace("[", "[[]").replace("?", "[?]")
            matching = [label for label in free if fnmatch.fnmatchcase(label, pattern)]
        else:
            matching = []
        if not matching:
            raise WorkspaceError(f"{key}: {self.where} has no parameter {name!r}{closest(name, self.labels)}")
        if constant := [label for label in matching if label not in free]:
            raise WorkspaceError(f"{key}: {constant[0]} is held constant by the measurement of {self.where}")
        return matching

    def kinds(self) -> dict[str, str]:
        """Return the type of the modifier behind each parameter, by label."""
        config = self.model.config
        kinds, found = dict(config.modifiers), dict[str, str]()
        for name in config.par_order:
            found |= dict.fromkeys(self.labels[config.par_slice(name)], kinds.get(name, ""))
        return found


def nominal(problem: Problem) -> NDArray[np.float64]:
    """Return the parameters before the fit, shape (n_parameters,).

    The POI at 1, the nominal signal, also where the workspace starts it elsewhere (unless its bounds exclude 1). Other
    free ones at their initial value, constrained ones at the centre of their constraint (not at an initial value that
    somebody's minimiser liked), constant ones at their constant. cabinetry's ``asimov_parameters`` are the same but for
    the POI, constants and centres that a measurement moves: Asimov data made there would not be fitted perfectly.
    """
    config = problem.model.config
    values = np.array(config.suggested_init(), dtype=float)
    fixed = np.array(config.suggested_fixed(), dtype=bool)
    for name in config.par_order:
        parameter = config.param_set(name)
        if parameter.constrained:
            centre = np.ones(parameter.n_parameters) if parameter.pdf_type == "poisson" else parameter.auxdata
            where = config.par_slice(name)
            values[where] = np.where(fixed[where], values[where], centre)
    low, high = problem.bounds[problem.poi]
    if not config.param_set(problem.poi_name).constrained and low <= 1 <= high:
        values[problem.poi] = 1.0
    return values


def constraint_widths(problem: Problem) -> NDArray[np.float64]:
    """Return the width of each parameter's constraint, shape (n_parameters,); 0 without one, and of constants."""
    config = problem.model.config
    widths = np.zeros(config.npars)
    for name in config.par_order:
        parameter = config.param_set(name)
        if parameter.constrained:
            widths[config.par_slice(name)] = parameter.width()
    return np.where(problem.fixed, 0.0, widths)


@contextmanager
def numpy_backend() -> Iterator[None]:
    """Calculate with pyhf's NumPy backend, in silence; the caller's is put back.

    NumPy's warnings are silent too: far from the minimum numbers overflow, and every result is checked for it.
    """
    import pyhf

    backend, optimizer = pyhf.get_backend()
    loggers = [logging.getLogger(name) for name in ("cabinetry", "pyhf")]
    levels = [logger.level for logger in loggers]
    pyhf.set_backend("numpy")
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        pyhf.set_backend(backend, optimizer)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def open_problem(
    spec: dict[str, Any],
    *,
    asimov: bool,
    measurement: str | None,
    where: str,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    engine: Engine = "exact",
) -> Problem:
    """Build the model of a workspace and take its data, or for Asimov data the expectation.

    Args:
        spec: The workspace, which is valid (``readers.pyhf.require_valid``).
        asimov: Whether to fit the expectation instead of the observation.
        measurement: Its name; the first without.
        where: Names the workspace in errors.
        bounds: Of parameters, in the place of the workspace's; the data are made with them.
        engine: What calculates the expected events and their derivatives.

    Raises:
        WorkspaceError: If the workspace has no such measurement, or no parameter of interest that can be fitted.
    """
    import pyhf

    workspace = pyhf.Workspace(spec, validate=False)
    known = [item["name"] for item in spec["measurements"]]
    if measurement is not None and measurement not in known:
        raise WorkspaceError(f"{where} has no measurement {measurement!r}{closest(measurement, known)}")
    chosen = measurement or known[0]
    model = _model(workspace, chosen, where)
    rates, notes = _rates(model, workspace, chosen, engine)
    observed = np.asarray(workspace.data(model), dtype=float)
    limits = tuple((float(low), float(high)) for low, high in model.config.suggested_bounds())
    problem = Problem(model, tuple(observed.tolist()), False, where, limits, rates, notes).with_bounds(bounds or {})
    expected = np.asarray(model.expected_data(nominal(problem)), dtype=float)
    _require_events(problem, expected, observed)
    # A run on Asimov data leaves it in the workspace as the observation: call it what it is.
    is_asimov = asimov or bool(np.allclose(observed, expected, rtol=1e-12, atol=0))
    problem = replace(problem, is_asimov=is_asimov).with_data(expected if is_asimov else observed)
    _require_likelihood(problem)
    return problem


def _model(workspace: Any, measurement: str, where: str) -> Any:
    """Return pyhf's model of a measurement; see ``open_problem``."""
    try:
        model = workspace.model(
            measurement_name=measurement,
            validate=False,
            modifier_settings={"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}},
        )
    except Exception as error:  # pyhf's errors have no common base; its schema lets wrong lengths and names pass
        raise WorkspaceError(
            f"measurement {measurement!r} of {where} is no model ({type(error).__name__}: "
            f"{' '.join(str(error).split())}). Repair its samples, modifiers or parameters"
        ) from error
    config = model.config
    if lacking := [name for name in config.channels if name not in workspace.observations]:
        raise WorkspaceError(f"{where} has no observation of channel {', '.join(lacking)}. Add it to `observations`")
    if config.poi_name is None:
        raise WorkspaceError(f"measurement {measurement!r} of {where} has no parameter of interest")
    if config.suggested_fixed()[config.poi_index]:
        raise WorkspaceError(f"measurement {measurement!r} of {where} holds its parameter of interest constant")
    _require_labels(config, where)
    return model


def _rates(model: Any, workspace: Any, measurement: str, engine: Engine) -> tuple[Rates, tuple[str, ...]]:
    """Return what calculates the expected events, and a note where it is not what was asked for."""
    if engine == "pyhf":
        return PyhfRates(model), ()
    try:
        spec = specification(model, workspace.observations, measurement)
        return ExactRates(expectation(spec), spec.labels), ()
    except UnknownModifierError as error:
        return PyhfRates(model), (f"fitted with numerical derivatives, as with fit.engine=pyhf: {error}",)


def _require_likelihood(problem: Problem) -> None:
    """Check our likelihood against the referee, pyhf's, at the start of the fit and at a shifted point.

    Where they differ, the workspace has something that we read as something else.
    """
    config = problem.model.config
    data = [*problem.data[: config.nmaindata], *config.auxdata]
    likelihood = Likelihood(problem.rates, constraint_terms(config), data, nominal(problem))
    start = np.array(config.suggested_init(), dtype=float)
    for point in (start, start + REFEREE_SHIFT * ~np.array(problem.fixed)):
        theirs = -float(np.squeeze(problem.model.logpdf(point, data)))
        ours = likelihood.nll(point)
        # Many auxiliary events drown a difference of the others: the expectation is compared itself, too.
        expected = np.asarray(problem.model.expected_actualdata(point))
        change = np.abs(likelihood.expected(point) - expected)
        room = REFEREE * np.abs(expected) + ROUNDING * np.abs(expected).max()
        is_same = abs(ours - theirs) <= REFEREE * (abs(theirs) + float(np.sum(data)))
        if np.isfinite(theirs) and not (is_same and (change <= room).all()):
            raise FitFailedError(
                f"-ln L of {problem.where} is {ours:.12g}, and {theirs:.12g} for pyhf; the events of a bin "
                f"differ by up to {change.max():.3g}. Please report this, with the workspace"
            )


def _require_labels(config: Any, where: str) -> None:
    """Check that every label is of one parameter: the first of a vector "g" is "g[0]", as another may be called."""
    owners: dict[str, str] = {}
    for name in config.par_order:
        for label in config.par_names[config.par_slice(name)]:
            if label in owners:
                raise WorkspaceError(
                    f"{where}: {label!r} is the name of a parameter of {owners[label]!r} and of one of {name!r}. "
                    "Rename one of the two modifiers"
                )
            owners[label] = name


def _require_events(problem: Problem, expected: NDArray[np.float64], observed: NDArray[np.float64]) -> None:
    """Check that the likelihood of the data is defined at the nominal parameters."""
    n_bins = problem.model.config.nmaindata
    for what, values in (("expected", expected), ("observed", observed)):
        events = values[:n_bins]
        bad = np.flatnonzero(~((events >= 0) & (events <= MOST_EVENTS)))
        if len(bad):
            raise WorkspaceError(
                f"{problem.where}: the {what} events of {len(bad)} of {n_bins} bins are "
                f"{', '.join(map(str, events[bad[:3]]))}, first {problem.bin_name(int(bad[0]))}; expected finite "
                f"numbers of at least 0 and at most {MOST_EVENTS:g}. Repair its samples or observations"
            )
    impossible = np.flatnonzero((expected[:n_bins] == 0) & (observed[:n_bins] > 0))
    if len(impossible):
        index = int(impossible[0])
        raise WorkspaceError(
            f"{problem.where}: {problem.bin_name(index)} has {observed[index]:g} observed events, and no sample "
            f"expects any there ({len(impossible)} of {n_bins} bins): no parameters explain these data. Merge it with "
            "another bin, or repair its samples"
        )
