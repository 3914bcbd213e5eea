"""A fit of observed data that tells what a blinded analyser may know of it, and not what was measured.

What is measured by the data alone, the parameter of interest and every other one without a constraint, carries a
hidden offset; its errors are right. Pulls and constraints of nuisance parameters stay. What counts or the true value
can be read from is left out: the parameters of single bins (a gamma above 1 says that there are more events than
expected in its bin, and all of them with the templates give mu), -2 ln L, and those quantities that do not say what
may be shown of them. Blinding hides numbers from those who look at them: not from arithmetic on all errors and pulls,
nor from somebody who reads the data.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from inferno_cli.errors import FitFailedError, WorkspaceError
from inferno_cli.fit.result import FitResult, Outcome, Parameter
from inferno_cli.section import POI

NUMBER = re.compile(r"(?<![\w.])(?<!\w\[)[-+]?\d+(\.\d+)?(e[-+]?\d+)?(?!\w)")
"""A number in a sentence; not the index of a parameter or a digit in a name."""
HIDDEN = "(hidden)"


def blinded(fit: FitResult, key: str) -> FitResult:
    """Return the record of a fit of observed data with nothing in it that tells what was observed.

    Args:
        fit: The fit as it is.
        key: What the offsets are drawn from: the same in every fit of the same data, whatever the network is, so that
            the results of fits can be compared.

    Raises:
        FitFailedError: If a parameter with an offset is at its limit, which is known, and with it the offset.
    """
    offsets = {name: _offset(key, name, parameter.hesse) for name, parameter in _measured(fit)}
    hidden = sorted(offsets, key=POI.__ne__)
    parameters: dict[str, Parameter] = {}
    for name, parameter in fit.parameters.items():
        if name in offsets:
            parameters[name] = replace(parameter, bestfit=parameter.bestfit + offsets[name], pull=None, constraint=None)
        elif parameter.entry is None:
            parameters[name] = parameter
    correlation = {}
    for name, row in fit.correlation.items():
        if name in parameters:
            correlation[name] = {other: value for other, value in row.items() if other in parameters}
    outcomes: dict[str, Outcome] = {}
    left_out = []
    for name, quantity, value in fit.outcomes():
        shown = quantity.blinded(value, fit, offsets)
        if shown is None:
            left_out.append(quantity.title or name)
        else:
            outcomes[name] = Outcome(fit.quantities[name].kind, shown)
    return fit.model_copy(
        update={
            "data": "observed",  # also where the data are the Asimov data, which would say what they are
            "hidden": tuple(hidden),
            "parameters": parameters,
            "correlation": correlation,
            "twice_nll": None,
            "quantities": outcomes,
            "notes": (*_notes(hidden, left_out), *map(without_numbers, fit.notes)),
        }
    )


def _measured(fit: FitResult) -> Iterator[tuple[str, Parameter]]:
    """Yield the parameters that carry an offset: the POI, and others that the data alone determine."""
    for name, parameter in fit.parameters.items():
        is_measured = name == POI or not parameter.is_constrained
        if not is_measured or parameter.entry is not None or parameter.hesse == 0:
            continue
        if parameter.at_limit is not None:
            raise FitFailedError(
                f"{name} is at its limit, from which its hidden offset could be read: the fit cannot be shown blinded. "
                "Fit the Asimov data (fit=asimov), or set unblind=true"
            )
        yield name, parameter


def _offset(key: str, name: str, error: float) -> float:
    """Draw the hidden offset of a parameter, from a normal distribution.

    Its width is a power of ten, ten times the error or more: one that followed the error would differ from network to
    network. For another width it is another draw, as two multiples of one would give it away.
    """
    width = 10.0 ** max(1, math.ceil(math.log10(error)) + 1)
    digest = hashlib.sha256(f"hidden offset of {name} with width {width:g} in {key}".encode()).digest()
    return float(np.random.default_rng(np.frombuffer(digest, dtype=np.uint32)).normal(0.0, width))


def _notes(hidden: list[str], left_out: list[str]) -> Iterator[str]:
    """Say what is not shown, and why."""
    yield (
        f"blinded: a hidden offset, the same in every fit of these data, is in the best fit of {', '.join(hidden)}; "
        "errors, pulls and constraints are right. unblind=true shows what was measured"
    )
    what = ["-2 ln L", "the parameters of single bins", *left_out]
    yield f"blinded: left out are {', '.join(what)}, from which observed events or mu could be read"
    yield "blinded: the workspace and its forms for other tools hold Asimov data in the place of the observed"


def without_numbers(text: str) -> str:
    """Return a note or an error of a blinded fit without its numbers: they may be of the data, or of mu.

    Example:
        >>> without_numbers("the scan with mu = 1.234 found 3e-5, jes_13TeV and gamma[2] 0.1")
        'the scan with mu = (hidden) found (hidden), jes_13TeV and gamma[2] (hidden)'
    """
    return NUMBER.sub(HIDDEN, text)


@contextmanager
def errors_without_numbers() -> Iterator[None]:
    """Raise the errors of a blinded fit without their numbers: they are printed, written to the status and logged."""
    try:
        yield
    except (FitFailedError, WorkspaceError) as error:
        raise type(error)(without_numbers(str(error))) from None
