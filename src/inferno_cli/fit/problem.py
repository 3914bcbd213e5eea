"""What is fitted: a pyhf workspace, its model and its parameters, and the data."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferno_cli.config import POI
from inferno_cli.errors import WorkspaceError, closest
from inferno_cli.fit.minuit import session

ALL = "all"
"""In a list of parameters: every one that the fit varies."""


def read_workspace(path: Path) -> dict[str, Any]:
    """Read a pyhf workspace and check it against pyhf's schema.

    Raises:
        WorkspaceError: If the file is missing, is not JSON, or is not a valid workspace.
    """
    import pyhf

    try:
        spec: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkspaceError(f"workspace {path} cannot be read: {error.strerror}. Fix workspace=PATH") from error
    except ValueError as error:
        raise WorkspaceError(f"workspace {path} is not JSON: {error}") from error
    try:
        pyhf.Workspace(spec)
    except Exception as error:  # jsonschema's and pyhf's errors have no common base
        raise WorkspaceError(f"workspace {path} is not valid: {str(error).splitlines()[0]}") from error
    return spec


@dataclass(frozen=True)
class Problem:
    """A model and the data that it is fitted to.

    Attributes:
        model: pyhf's.
        data: With the auxiliary data.
        is_asimov: Whether the data are the unfluctuated expectation at the nominal parameters.
        where: Names the workspace in errors.
    """

    model: Any
    data: list[float]
    is_asimov: bool
    where: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the parameters, one per entry of a vector."""
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
            # Only the star: "[0]" in a name is an index, not a set of characters.
            pattern = name.replace("[", "[[]")
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
        kinds = dict(self.model.config.modifiers)
        return {
            label: kinds.get(name, "")
            for name in self.model.config.par_order
            for label in self.labels[self.model.config.par_slice(name)]
        }


def nominal(model: Any) -> NDArray[np.float64]:
    """Return the parameters before the fit, shape (n_parameters,).

    Free ones at their initial value, constrained ones at the centre of their constraint (not at an initial value
    that somebody's minimiser liked), constant ones at their constant. cabinetry's ``asimov_parameters`` are the same
    but for constants and centres that a measurement moves: Asimov data made there would not be fitted perfectly.
    """
    values = np.array(model.config.suggested_init(), dtype=float)
    fixed = np.array(model.config.suggested_fixed(), dtype=bool)
    for name in model.config.par_order:
        parameter = model.config.param_set(name)
        if parameter.constrained:
            centre = np.ones(parameter.n_parameters) if parameter.pdf_type == "poisson" else parameter.auxdata
            where = model.config.par_slice(name)
            values[where] = np.where(fixed[where], values[where], centre)
    return values


def open_problem(spec: dict[str, Any], *, asimov: bool, measurement: str | None, where: str) -> Problem:
    """Build the model of a workspace and take its data.

    Args:
        spec: The workspace.
        asimov: Whether to fit the expectation instead of the observation.
        measurement: Its name; the first without.
        where: Names the workspace in errors.

    Raises:
        WorkspaceError: If the workspace has no such measurement, or no parameter of interest that can be fitted.
    """
    import pyhf

    workspace = pyhf.Workspace(spec)
    known = [item["name"] for item in spec["measurements"]]
    if measurement is not None and measurement not in known:
        raise WorkspaceError(f"{where} has no measurement {measurement!r}{closest(measurement, known)}")
    chosen = measurement or known[0]
    try:
        with session():
            model = workspace.model(
                measurement_name=measurement,
                modifier_settings={"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}},
            )
    except Exception as error:  # pyhf's errors have no common base; its schema lets wrong lengths and names pass
        raise WorkspaceError(
            f"measurement {chosen!r} of {where} is no model ({type(error).__name__}: {' '.join(str(error).split())}). "
            "Repair its samples, modifiers or parameters"
        ) from error
    if lacking := [name for name in model.config.channels if name not in workspace.observations]:
        raise WorkspaceError(f"{where} has no observation of channel {', '.join(lacking)}. Add it to `observations`")
    if model.config.poi_name is None:
        raise WorkspaceError(f"measurement {chosen!r} of {where} has no parameter of interest")
    if model.config.suggested_fixed()[model.config.poi_index]:
        raise WorkspaceError(f"measurement {chosen!r} of {where} holds its parameter of interest constant")
    expected = np.asarray(model.expected_data(nominal(model)))
    observed = np.asarray(workspace.data(model), dtype=float)
    # A run on Asimov data leaves it in the workspace as the observation: call it what it is.
    is_asimov = asimov or bool(np.allclose(observed, expected, rtol=1e-12, atol=0))
    data = expected if is_asimov else observed
    for what, values in (("expected", expected), ("observed", data)):
        events = values[: model.config.nmaindata]
        bad = events[~(np.isfinite(events) & (events >= 0))]
        if len(bad):
            raise WorkspaceError(
                f"{where}: the {what} events of {len(bad)} of {len(events)} bins are {', '.join(map(str, bad[:3]))}; "
                "expected finite numbers of at least 0. Repair its samples or observations"
            )
    return Problem(model, [float(x) for x in data], is_asimov, where)
