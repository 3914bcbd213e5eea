"""Hard templates as a likelihood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from inferno_cli.config.measurement import Measurement
from inferno_cli.errors import TemplateError
from inferno_cli.events.sample import DIRECTIONS, Variation
from inferno_cli.histograms.templates import FloatArray, Templates
from inferno_cli.likelihood.build import build
from inferno_cli.likelihood.spec import Spec


def specification(
    templates: Templates, measurement: Measurement, array: Callable[[FloatArray], Any] = np.asarray, **options: Any
) -> Spec:
    """Return the likelihood of templates.

    Args:
        array: Makes the arrays of the likelihood; ``torch.from_numpy`` for those of torch.
        options: Further arguments of ``likelihood.build``.
    """
    varied, variance = {}, {}
    for (name, sample), pair in templates.varied.items():
        varied[name, sample] = tuple(array(values) for values in pair)
        histograms = [templates.histograms[sample, Variation(name, direction)] for direction in DIRECTIONS]
        variance[name, sample] = tuple(array(histogram.variances()) for histogram in histograms)
    nominal, errors = array(templates.nominal), array(templates.variance)
    return build(measurement, nominal, errors, varied, varied_variance=variance, **options)


def fitted(templates: Templates, measurement: Measurement, *, poi_bounds: tuple[float, float], observed: bool) -> Spec:
    """Return the likelihood that a run fits, with its data: a run on Asimov data leaves no observed data in its files.

    Args:
        observed: Take the observed events; else the Asimov data.

    Raises:
        TemplateError: If a template cannot be fitted, or one bin is left for a shape.
    """
    templates.require_positive()
    shapes = [name for name in measurement.shapes if any(name == key for key, _ in templates.varied)]
    if templates.n_bins == 1 and shapes:
        raise TemplateError(
            f"one bin is left after merging, and a shape nuisance parameter ({', '.join(shapes)}) needs at least two. "
            "Lower binning.min_effective_events or binning.min_yield, raise model.bins, or train longer"
        )
    if observed and templates.observed is None:
        raise TemplateError("fit.data is 'observed', but the dataset has no observed events")
    data = templates.observed.values() if observed and templates.observed else templates.nominal.sum(axis=0)
    return specification(templates, measurement, observed=data, poi_bounds=poi_bounds)
