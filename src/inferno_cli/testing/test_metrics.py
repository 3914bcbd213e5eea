"""What every metric has to do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from inferno_cli.histograms.morph import scaled
from inferno_cli.histograms.templates import fill
from inferno_cli.testing.parts import MEASUREMENT, samples
from inferno_cli.training.metrics import Metric, measured, metrics
from inferno_cli.training.objectives import FigureOfMerit
from inferno_cli.training.recipe import template_channels

every_metric = pytest.mark.parametrize("metric", metrics().values(), ids=lambda metric: metric.kind)


def templates(order: tuple[int, ...] = (0, 1, 2, 3)) -> Any:
    """Return the likelihood of four bins of the first feature, in some order."""
    bins = []
    for sample in samples():
        numbers = np.digitize(sample.features[..., 0], [-0.3, 0.4, 1.1])
        bins.append(np.asarray(order)[numbers])
    return template_channels(MEASUREMENT, [scaled(fill(samples(), bins, len(order)), MEASUREMENT)])


def value(metric: Metric, likelihood: Any) -> float:
    """Return a metric of templates."""
    values, missing = measured(likelihood)
    assert metric.kind not in missing
    return values[metric.kind]


@every_metric
def test_it_is_a_number_with_a_name_in_tables(metric: Metric) -> None:
    found = value(metric, templates())

    assert math.isfinite(found)
    assert metric.title
    assert f"{found:{metric.form}}"


@every_metric
def test_the_order_of_the_bins_does_not_matter(metric: Metric) -> None:
    one, other = templates(), templates((2, 0, 3, 1))

    assert value(metric, other) == pytest.approx(value(metric, one), rel=1e-6, abs=1e-9)


@every_metric
def test_an_epoch_can_be_chosen_by_it(metric: Metric) -> None:
    before = FigureOfMerit()
    chosen = metric.choosing(before)

    assert (chosen.pois, chosen.combined) == (before.pois, before.combined)
    assert chosen.exact is not None
    assert chosen == metric.choosing(before)
    merit = chosen.exact(templates(), ("mu",))
    assert 0 <= merit < math.inf
    assert merit == metric.of_templates(templates(), ("mu",))
