"""The landscape of two bins: the numbers of an independent calculation, also where the original finds a constant."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import loss_landscape

ONE_SIDED = (-10.0, -5.0, 0.0, 5.0, 10.0)
P0 = (0.05465, 0.05134, 0.04881, 0.04881, 0.04881)
CLS = (0.10796, 0.10796, 0.10796, 0.11030, 0.11671)


@pytest.mark.parametrize(("shift", "p0", "cls"), list(zip(ONE_SIDED, P0, CLS, strict=True)))
def test_along_a_systematic_to_one_side_the_variance_is_constant_and_the_p_values_are_not(shift, p0, cls):
    found = loss_landscape.terms(shift, shift)
    assert found["sigma_mu"] == pytest.approx(0.64043, abs=5e-6)
    assert found["p0"] == pytest.approx(p0, abs=5e-6)
    assert found["cls"] == pytest.approx(cls, abs=5e-6)
    assert found["cls_plus_p0"] == pytest.approx(found["p0"] + found["cls"])


def test_the_variance_is_largest_where_up_and_down_differ_most():
    # By hand: signal and shape are J = ([5, 11], (u - d) / 2 [1, -1]), and the shape has a constraint of 1.
    jacobian = np.array([[5.0, 11.0], [10.0, -10.0]])
    information = (jacobian / [55.0, 61.0]) @ jacobian.T + np.diag([0.0, 1.0])
    variance = np.linalg.inv(information)
    found = loss_landscape.terms(10.0, -10.0)
    assert found["sigma_mu"] == pytest.approx(variance[0, 0] ** 0.5, rel=1e-9)
    assert found["sigma_mu"] == pytest.approx(0.66537, abs=5e-6)
    assert found["generalised_variance"] == pytest.approx(np.linalg.det(variance), rel=1e-9)


def test_a_likelihood_is_closest_to_a_gaussian_without_a_shift_to_one_side():
    deviations = [loss_landscape.terms(shift, shift)["gaussianity"] for shift in (-8.0, 0.0, 8.0)]
    assert deviations[1] < 0.1 * min(deviations[0], deviations[2])


def test_the_table_says_where_the_sum_is_smallest():
    axis = np.array([-10.0, 0.0, 10.0])
    lines = loss_landscape.table(axis, loss_landscape.landscape(axis)).splitlines()
    (both,) = [line for line in lines if line.startswith("| CLs + p0 ")]
    assert "0.15677 | (0, 0)" in both
