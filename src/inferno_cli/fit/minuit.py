"""The fit of a pyhf workspace through cabinetry with MINUIT: MIGRAD, HESSE, MINOS, and what is read off them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from inferno_cli.config import POI, Fit
from inferno_cli.errors import FitFailedError, WorkspaceError, closest
from inferno_cli.fit.result import Estimate, FitResult, Scan, Significance

SCAN_RANGE = 2.5
"""Half width of the NLL scan, in units of the HESSE error."""


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


@contextmanager
def _minuit() -> Iterator[list[Any]]:
    """Give access to the Minuit objects that cabinetry makes and does not hand out.

    Their state decides whether a result is valid. pyhf's backend and optimiser are put back at the end: cabinetry
    leaves its own behind when a fit fails.
    """
    import pyhf
    import scipy.optimize

    made: list[Any] = []
    original = pyhf.optimize.minuit_optimizer

    class Recorded(original):  # type: ignore[misc, valid-type]
        __slots__ = ()

        def _get_minimizer(self, *args: Any, **kwargs: Any) -> Any:
            minimizer = super()._get_minimizer(*args, **kwargs)
            minimizer.print_level = 0
            made.append(minimizer)
            return minimizer

        def _minimize(self, minimizer: Any, *args: Any, **kwargs: Any) -> Any:
            if not all(minimizer.fixed):
                return super()._minimize(minimizer, *args, **kwargs)
            # With mu fixed and no other parameter there is nothing to minimise, and HESSE of nothing fails.
            return scipy.optimize.OptimizeResult(
                x=minimizer.values,
                unc=minimizer.errors,
                corr=np.eye(minimizer.npar),
                success=True,
                fun=minimizer.fcn(minimizer.values),
                minuit=minimizer,
            )

    backend, optimizer = pyhf.get_backend()
    quiet = [logging.getLogger(name) for name in ("cabinetry", "pyhf")]
    levels = [logger.level for logger in quiet]
    pyhf.set_backend("numpy")
    pyhf.optimize.minuit_optimizer = Recorded
    for logger in quiet:
        logger.setLevel(logging.CRITICAL)  # pyhf logs a failed fit with its traceback as an error
    try:
        yield made
    finally:
        pyhf.optimize.minuit_optimizer = original
        pyhf.set_backend(backend, optimizer)
        for logger, level in zip(quiet, levels, strict=True):
            logger.setLevel(level)


def _state(minuit: Any) -> str:
    """What MINUIT says of its last fit, and what to do."""
    parts = [f"EDM {minuit.fmin.edm:.2g} (goal {minuit.fmin.edm_goal:.2g})", f"{minuit.fmin.nfcn} calls"]
    flags = {
        "the call limit was reached": minuit.fmin.has_reached_call_limit,
        "the EDM is above its goal": minuit.fmin.is_above_max_edm,
        "HESSE failed": minuit.fmin.hesse_failed,
        "the covariance is not positive definite": not minuit.fmin.has_posdef_covar,
    }
    parts += [text for text, flag in flags.items() if flag]
    at_limit = _at_limit(minuit)
    parts += [f"{name} is at its limit {limit:g}" for name, limit in at_limit]
    remedy = f"Widen the bounds of {at_limit[0][0]}" if at_limit else "Raise fit.max_calls, or check the templates"
    return f"{'; '.join(parts)}. {remedy}"


def _at_limit(minuit: Any) -> list[tuple[str, float]]:
    found = []
    for parameter in minuit.params:
        if parameter.is_fixed:
            continue
        for limit in (parameter.lower_limit, parameter.upper_limit):
            if limit is not None and abs(parameter.value - limit) < 1e-3 * max(parameter.error, 1e-12):
                found.append((parameter.name, float(limit)))
    return found


class Fitter:
    """Fits one model to one set of data."""

    def __init__(self, model: Any, data: list[float], settings: Fit, where: str) -> None:
        self.model, self.data, self.settings, self.where = model, data, settings, where

    def _options(self) -> dict[str, Any]:
        return {"maxiter": self.settings.max_calls, "tolerance": self.settings.tolerance}

    def fit(self, *, minos: tuple[str, ...] = (), **fixed: Any) -> Any:
        """Run MIGRAD, HESSE and MINOS; return cabinetry's result.

        Raises:
            FitFailedError: If any of them is not valid, with MINUIT's state.
        """
        import cabinetry

        with _minuit() as made:
            try:
                result = cabinetry.fit.fit(self.model, self.data, minos=list(minos) or None, **self._options(), **fixed)
            except Exception as error:
                state = _state(made[-1]) if made and made[-1].fmin else str(error)
                raise FitFailedError(f"MINUIT did not converge on {self.where}: {state}") from error
            minuit = made[-1]
            if not (minuit.valid and minuit.accurate) or _at_limit(minuit):
                raise FitFailedError(f"MINUIT's minimum on {self.where} is not valid: {_state(minuit)}")
            for name in minos:
                interval = minuit.merrors[name]
                if not interval.is_valid or interval.at_lower_limit or interval.at_upper_limit:
                    raise FitFailedError(
                        f"MINOS of {name} on {self.where} failed: lower valid {interval.lower_valid}, upper valid "
                        f"{interval.upper_valid}, at limit {interval.at_lower_limit or interval.at_upper_limit}, "
                        f"new minimum {interval.lower_new_min or interval.upper_new_min}. Widen the bounds of {name}"
                    )
        if not np.isfinite([*result.bestfit, *result.uncertainty]).all():
            raise FitFailedError(f"MINUIT gave values that are not finite on {self.where}")
        return result

    def _minima(self, what: str, function: Callable[..., Any], **arguments: Any) -> Any:
        """Call a function of cabinetry that needs minima only, no errors.

        Beyond one sigma the second derivative of the interpolation jumps, and MINUIT's covariance, which nobody reads
        here, can fail where the minimum is found: then again with strategy 0, which does not ask for it.
        """
        for strategy in (None, 0):
            with _minuit() as made:
                try:
                    return function(self.model, self.data, strategy=strategy, **arguments, **self._options())
                except Exception as error:
                    failure, state = error, _state(made[-1]) if made and made[-1].fmin else str(error)
        raise FitFailedError(f"{what} on {self.where} did not converge: {state}") from failure

    def stat_only(self, best: Any, poi: int) -> Estimate:
        """Fit the POI with all other parameters fixed at their best fit."""
        name = best.labels[poi]
        result = self.fit(
            minos=(name,),
            init_pars=best.bestfit.tolist(),
            fix_pars=[i != poi for i in range(len(best.labels))],
        )
        return _estimates(result)[name]

    def scan(self, best: Any, poi: int) -> Scan:
        """Profile the NLL in the POI around its best fit."""
        import cabinetry

        name, half = best.labels[poi], SCAN_RANGE * best.uncertainty[poi]
        low, high = self.model.config.suggested_bounds()[poi]
        lower, upper = max(low, best.bestfit[poi] - half), min(high, best.bestfit[poi] + half)
        result = self._minima(
            f"the scan of {name}",
            cabinetry.fit.scan,
            par_name=name,
            par_range=(lower, upper),
            n_steps=self.settings.scan_points,
        )
        return Scan(name, tuple(result.parameter_values.tolist()), tuple(result.delta_nlls.tolist()))

    def significance(self) -> Significance:
        """Discovery significance of the POI, from the asymptotic distribution of q0."""
        import cabinetry

        result = self._minima("the fit without signal", cabinetry.fit.significance)
        return Significance(
            expected=float(result.expected_significance),
            observed=float(result.observed_significance),
            expected_p_value=float(result.expected_p_value),
            observed_p_value=float(result.observed_p_value),
        )


def _estimates(result: Any) -> dict[str, Estimate]:
    return {
        name: Estimate(
            float(result.bestfit[i]),
            float(result.uncertainty[i]),
            (float(result.minos_uncertainty[name][0]), float(result.minos_uncertainty[name][1]))
            if name in result.minos_uncertainty
            else None,
        )
        for i, name in enumerate(result.labels)
    }


def fit_workspace(spec: dict[str, Any], settings: Fit, *, measurement: str | None = None, where: str) -> FitResult:
    """Fit a pyhf workspace.

    Args:
        spec: The workspace.
        settings: What to do.
        measurement: Name of the measurement; the first without.
        where: Names the workspace in errors.

    Raises:
        WorkspaceError: If the workspace has no such measurement, no POI, or no such parameter.
        FitFailedError: If a fit is not valid.
    """
    import pyhf

    workspace = pyhf.Workspace(spec)
    known = [item["name"] for item in spec["measurements"]]
    if measurement is not None and measurement not in known:
        raise WorkspaceError(f"{where} has no measurement {measurement!r}{closest(measurement, known)}")
    with _minuit():
        model = workspace.model(
            measurement_name=measurement,
            modifier_settings={"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}},
        )
    if model.config.poi_name is None:
        raise WorkspaceError(f"measurement {measurement or known[0]!r} of {where} has no parameter of interest")
    poi_name, poi = model.config.poi_name, model.config.poi_index
    asimov = model.expected_data(model.config.suggested_init())
    observed = np.asarray(workspace.data(model))
    # A run on Asimov data leaves it in the workspace as the observation: call it what it is.
    is_asimov = settings.data == "asimov" or bool(np.allclose(observed, asimov, rtol=1e-12, atol=0))
    data = asimov if is_asimov else observed
    labels = tuple(model.config.par_names)
    names = tuple(poi_name if name == POI else name for name in settings.minos)
    for name in names:
        if name not in labels:
            raise WorkspaceError(f"fit.minos: {where} has no parameter {name!r}{closest(name, labels)}")
    fitter = Fitter(model, [float(x) for x in data], settings, where)
    best = fitter.fit(minos=names)
    constant = best.uncertainty == 0
    correlation = np.where(constant[:, None] | constant[None, :], 0.0, best.corr_mat)
    return FitResult(
        data="asimov" if is_asimov else "observed",
        poi=poi_name,
        parameters=_estimates(best),
        labels=labels,
        correlation=tuple(tuple(row) for row in correlation.tolist()),
        twice_nll=float(best.best_twice_nll),
        stat_only=fitter.stat_only(best, poi) if settings.stat_only else None,
        significance=fitter.significance() if settings.significance else None,
        scan=fitter.scan(best, poi) if settings.scan_points is not None else None,
    )
