"""Expected events of a likelihood with exact derivatives in its parameters, arranged for fits.

A cell is a bin of a row (a sample of a channel). With r the row of cell c, and its additive changes linear in two
constant templates (``interpolation.even_part``),

    y_c = F_r T_c m_c,    F_r = prod factors,    T = nominal + odd alpha + even e(alpha),    m_c = prod gammas,

and nu_b is the sum of its cells. Every derivative is one of logarithms: dF / F = sum f' / f, dm / m = sum 1 / gamma.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inferno_cli.likelihood.expectation import Expectation
from inferno_cli.likelihood.interpolation import Code4, FloatArray, even_part

IntArray = NDArray[np.intp]

TINY = 1e-100
"""What a factor of 0 is taken as, so that the derivative, the product of the others, is found by dividing by it.

Its square and that of its inverse are numbers, and times any other factor it is 0 in every sum.
"""
NOTHING = 1e-60
"""A derivative below this is none where a factor is 0: it has a factor TINY left."""
SPARSE_SIZE, SPARSE_SHARE = 100_000, 0.2
"""A constant matrix with more elements is sparse where fewer than this share of them are not 0."""


class Rates(Protocol):
    """Expected events of N bins as a function of n parameters, in the order of the workspace's model.

    ``is_exact``: whether the derivatives are, and cost little.
    """

    is_exact: bool

    def expected(self, theta: FloatArray) -> FloatArray:
        """Return nu, shape (N,)."""

    def jacobian(self, theta: FloatArray) -> FloatArray:
        """Return d nu_b / d theta_i, shape (N, n)."""

    def gradient(self, theta: FloatArray, slope: FloatArray) -> FloatArray:
        """Return sum_b slope_b d nu_b / d theta_i, shape (n,)."""

    def hessian(self, theta: FloatArray, slope: FloatArray, curvature: FloatArray) -> FloatArray:
        """Return sum_b [slope_b d2 nu_b / d theta_i d theta_j + curvature_b (d nu_b / d theta_i)(d nu_b / d theta_j)].

        Its shape is (n, n).
        """

    def samples(self, theta: FloatArray) -> list[FloatArray]:
        """Return what is expected of each sample, in the order of the workspace, for every channel: (samples, bins)."""


@dataclass(frozen=True)
class _Point:
    """What is known at one set of parameters; P parameters theta, M cells, E factors of rows, K histosys.

    Attributes:
        key: Of the parameters.
        factors: Value, slope and curvature of every factor of a row, shape (3, E).
        even: e with its first and second derivative, shape (K,) each.
        template: T, shape (M,).
        gamma: Factors of single bins with a 1 at the end, shape (G + 1,).
        scale: F m, shape (M,).
        cells: y, shape (M,).
        bins: nu, shape (N,).
        has_zero: Whether a factor is 0, and TINY is in its place.
    """

    key: bytes
    factors: FloatArray
    even: tuple[FloatArray, FloatArray, FloatArray]
    template: FloatArray
    gamma: FloatArray
    scale: FloatArray
    cells: FloatArray
    bins: FloatArray
    has_zero: bool

    def settled(self, derivatives: FloatArray) -> FloatArray:
        """Return derivatives with those that are 0 as that: what nothing depends on must not look like little."""
        return np.where(np.abs(derivatives) < NOTHING, 0.0, derivatives) if self.has_zero else derivatives


class ExactRates:
    """Rates of a likelihood, as arrays of numpy; see ``Rates``."""

    is_exact = True

    def __init__(self, model: Expectation, labels: Sequence[str] = ()) -> None:
        """Take the likelihood, and the order of its parameters; without one theta and then gamma."""
        labels = labels or (*model.parameters, *model.gamma.labels)
        index = {label: i for i, label in enumerate(labels)}
        self._theta: IntArray = np.array([index[label] for label in model.parameters], dtype=np.intp)
        self._gamma: IntArray = np.array([index[label] for label in model.gamma.labels], dtype=np.intp)
        self._order: IntArray = np.argsort(np.concatenate([self._theta, self._gamma]))
        self._in_order = bool((self._order == np.arange(len(labels))).all())
        self._cells(model)
        self._factors(model)
        self._shapes(model)
        self._single_bins(model)
        self._last: _Point | None = None

    # ------------------------------------------------------------------------------------------------- the arrays
    def _cells(self, model: Expectation) -> None:
        """Lay the bins of the rows out, those of one bin beside each other."""
        self._channels = model.channels
        rows: list[IntArray] = []
        columns: list[IntArray] = []
        sizes: list[int] = []
        for place, n_bins in model.channels:
            of_channel = np.arange(place.start, place.stop)
            rows.append(np.tile(of_channel, n_bins))
            columns.append(np.repeat(np.arange(n_bins), len(of_channel)))
            sizes += [len(of_channel)] * n_bins
        self._row, self._column = np.concatenate(rows), np.concatenate(columns)
        self._starts = np.cumsum([0, *sizes[:-1]])
        self._bin = np.repeat(np.arange(len(sizes)), sizes)
        self._nominal = model.nominal[self._row, self._column]
        self._n_rows = len(model.nominal)
        membership = np.zeros((self._n_rows, len(self._row)))
        membership[self._row, np.arange(len(self._row))] = 1
        self._rows_of = _matrix(membership)

    def _factors(self, model: Expectation) -> None:
        """List the factors on rows: (parameter, row) of NormFactors, then of normsys."""
        free, (up, down) = np.array(model.norm_factor), model.normsys
        scaled = np.nonzero(((up != 1) | (down != 1)) & ~free)
        self._n_free = int(free.sum())
        self._factor_theta, self._factor_row = np.concatenate([np.nonzero(free), scaled], axis=1)
        self._normsys = Code4(up[scaled], down[scaled])
        n_factors = len(self._factor_row)
        by_row: list[list[int]] = [[] for _ in range(self._n_rows)]
        for factor, row in enumerate(self._factor_row.tolist()):
            by_row[row].append(factor)
        depth = max(map(len, by_row))
        self._by_row = np.full((depth, self._n_rows), n_factors)
        for row, factors in enumerate(by_row):
            self._by_row[: len(factors), row] = factors
        self._factor_cell = self._factor_row * len(self._theta) + self._factor_theta

    def _shapes(self, model: Expectation) -> None:
        """Gather the odd and the even half of every histosys, shape (M, K) each, side by side."""
        up, down = model.histosys
        self._shaped = np.flatnonzero((up != 0).any(axis=(1, 2)) | (down != 0).any(axis=(1, 2)))
        up, down = (side[self._shaped][:, self._row, self._column].T for side in (up, down))
        self._odd_even = _matrix(np.concatenate([(up - down) / 2, (up + down) / 2], axis=1))
        self._odd, self._even = _matrix((up - down) / 2), _matrix((up + down) / 2)

    def _single_bins(self, model: Expectation) -> None:
        """List which gammas multiply which cells: (gamma, bin) pairs, and what of them is in one bin or in one cell."""
        n_gamma = len(self._gamma)
        layers = model.gamma.layers[:, self._row, self._column]
        self._layers: IntArray = layers[(layers < n_gamma).any(axis=1)]
        layer, cell = np.nonzero(self._layers < n_gamma)
        self._touching, self._touched = self._layers[layer, cell], cell
        pairs, self._pair_of = np.unique(self._touching * len(self._starts) + self._bin[cell], return_inverse=True)
        self._pair_gamma, self._pair_bin = np.divmod(pairs, len(self._starts))
        membership = np.zeros((len(pairs), len(self._row)))
        membership[self._pair_of, cell] = 1
        self._cells_of_pair = _matrix(membership)
        self._gamma_once = len(np.unique(self._pair_gamma)) == len(pairs)
        # Pairs in one bin, each with itself, too; and for the second derivative different gammas in one cell.
        by_bin = np.argsort(self._pair_bin, kind="stable")
        self._meet = _both(by_bin, self._pair_bin[by_bin], with_itself=True)
        by_cell = np.argsort(cell, kind="stable")
        self._share = _both(by_cell, cell[by_cell], with_itself=False)

    # --------------------------------------------------------------------------------------------------- the rates
    def _at(self, theta: FloatArray) -> _Point:
        key = theta.tobytes()
        if self._last is not None and self._last.key == key:
            return self._last
        alpha = theta[self._theta]
        factors = np.empty((3, len(self._factor_row) + 1))
        free = slice(self._n_free)
        factors[0, free], factors[1, free], factors[2, free] = alpha[self._factor_theta[free]], 1, 0
        factors[:, self._n_free : -1] = self._normsys(alpha[self._factor_theta[self._n_free :]])
        factors[:, -1] = 1, 0, 0
        shaped = alpha[self._shaped]
        even = even_part(shaped)
        template = self._nominal + self._odd_even @ np.concatenate([shaped, even[0]])
        gamma = np.append(theta[self._gamma], 1.0)
        scale = self._scale(factors[0], gamma)
        cells = scale * template
        bins = np.add.reduceat(cells, self._starts)
        has_zero = bool((scale == 0).any())
        if has_zero:  # bins without events stay so; the derivatives divide by the factors
            factors[0][factors[0] == 0] = TINY
            gamma[gamma == 0] = TINY
            scale = self._scale(factors[0], gamma)
            cells = scale * template
        self._last = _Point(key, factors[:, :-1], even, template, gamma, scale, cells, bins, has_zero)
        return self._last

    def _scale(self, factors: FloatArray, gamma: FloatArray) -> FloatArray:
        """Return F m, shape (M,)."""
        scale = np.multiply.reduce(factors[self._by_row], axis=0)[self._row]
        for layer in self._layers:
            scale = scale * gamma[layer]
        return np.asarray(scale)

    def expected(self, theta: FloatArray) -> FloatArray:
        """Return nu, shape (N,)."""
        return self._at(theta).bins

    def samples(self, theta: FloatArray) -> list[FloatArray]:
        """Return what is expected of each sample, in the order of the workspace, for every channel: (samples, bins)."""
        cells, start = self._at(theta).cells, 0
        parts = []
        for place, n_bins in self._channels:
            n_samples = place.stop - place.start
            parts.append(cells[start : start + n_bins * n_samples].reshape(n_bins, n_samples).T)
            start += n_bins * n_samples
        return parts

    def gradient(self, theta: FloatArray, slope: FloatArray) -> FloatArray:
        """Return sum_b slope_b d nu_b / d theta_i, shape (n,)."""
        point = self._at(theta)
        by_cell = slope[self._bin]
        weighted = by_cell * point.cells
        of_row = _summed(self._row, weighted, self._n_rows)
        value, first, _ = point.factors
        gradient = _summed(self._factor_theta, first / value * of_row[self._factor_row], len(self._theta))
        odd, even = np.split((by_cell * point.scale) @ self._odd_even, 2)
        gradient[self._shaped] += odd + point.even[1] * even
        of_gamma = _summed(self._touching, weighted[self._touched], len(self._gamma)) / point.gamma[:-1]
        return point.settled(self._arranged(np.concatenate([gradient, of_gamma])))

    def jacobian(self, theta: FloatArray) -> FloatArray:
        """Return d nu_b / d theta_i, shape (N, n)."""
        point = self._at(theta)
        of_theta = np.add.reduceat(self._by_cell(point)[1], self._starts, axis=0)
        of_gamma = np.zeros((len(self._starts), len(self._gamma)))
        of_gamma[self._pair_bin, self._pair_gamma] = self._by_pair(point)
        both = point.settled(np.concatenate([of_theta, of_gamma], axis=1))
        return both if self._in_order else both[:, self._order]

    def hessian(self, theta: FloatArray, slope: FloatArray, curvature: FloatArray) -> FloatArray:
        """Return sum_b [slope_b d2 nu_b / d theta_i d theta_j + curvature_b (d nu_b / d theta_i)(d nu_b / d theta_j)].

        Its shape is (n, n).
        """
        point = self._at(theta)
        logarithmic, by_cell = self._by_cell(point)
        jacobian = np.add.reduceat(by_cell, self._starts, axis=0)
        n_theta, n = len(self._theta), len(self._order)
        matrix = np.zeros((n, n))
        matrix[:n_theta, :n_theta] = jacobian.T @ (curvature[:, None] * jacobian)
        is_bent = bool(slope.any())
        if is_bent:
            matrix[:n_theta, :n_theta] += self._theta_curvature(point, logarithmic, slope)
        if len(self._gamma):
            of_pair = self._by_pair(point)
            bins = self._pair_bin
            mixed = (curvature[bins] * of_pair)[:, None] * jacobian[bins]
            if is_bent:
                mixed += (slope[bins] / point.gamma[self._pair_gamma])[:, None] * (self._cells_of_pair @ by_cell)
            block = matrix[n_theta:, :n_theta]
            if self._gamma_once:
                block[self._pair_gamma] = mixed
            else:
                np.add.at(block, self._pair_gamma, mixed)
            matrix[:n_theta, n_theta:] = block.T
            self._add_gammas(matrix[n_theta:, n_theta:], point, of_pair, slope, curvature)
        matrix = point.settled(matrix)
        return matrix if self._in_order else matrix[np.ix_(self._order, self._order)]

    # -------------------------------------------------------------------------------------------------- derivatives
    def _arranged(self, values: FloatArray) -> FloatArray:
        return values if self._in_order else values[self._order]

    def _by_row_and_theta(self, of_factor: FloatArray) -> FloatArray:
        """Sum what each factor gives by row and parameter, shape (R, P)."""
        shape = self._n_rows, len(self._theta)
        return _summed(self._factor_cell, of_factor, shape[0] * shape[1]).reshape(shape)

    def _by_cell(self, point: _Point) -> tuple[FloatArray, FloatArray]:
        """Return d ln F_r / d theta_i, shape (R, P), and d y_c / d theta_i, shape (M, P)."""
        value, first, _ = point.factors
        logarithmic = self._by_row_and_theta(first / value)
        derivative = point.cells[:, None] * logarithmic[self._row]
        derivative[:, self._shaped] += point.scale[:, None] * self._change(point)
        return logarithmic, derivative

    def _change(self, point: _Point) -> Any:
        """Return d T_c / d alpha_k, shape (M, K)."""
        if isinstance(self._odd, np.ndarray):
            return self._odd + self._even * point.even[1]
        return (self._odd + self._even * point.even[1][None, :]).toarray()

    def _by_pair(self, point: _Point) -> FloatArray:
        """Return d nu_b / d gamma_g of every (gamma, bin)."""
        total = _summed(self._pair_of, point.cells[self._touched], len(self._pair_gamma))
        return np.asarray(total / point.gamma[self._pair_gamma])

    def _theta_curvature(self, point: _Point, logarithmic: FloatArray, slope: FloatArray) -> FloatArray:
        """Return sum_b slope_b d2 nu_b / d theta_i d theta_j, shape (P, P)."""
        by_cell = slope[self._bin]
        of_row = _summed(self._row, by_cell * point.cells, self._n_rows)
        matrix = logarithmic.T @ (of_row[:, None] * logarithmic)
        value, first, second = point.factors
        # Of one parameter, 2 ln' = f'' / f replaces (f' / f)^2: taken apart from the rest, as f may be TINY.
        bent = logarithmic**2 + self._by_row_and_theta(second / value - (first / value) ** 2)
        diagonal = of_row @ bent
        weight = by_cell * point.scale
        changed = self._rows_of @ (weight[:, None] * self._change(point))
        cross = logarithmic.T @ changed
        matrix[:, self._shaped] += cross
        matrix[self._shaped] += cross.T
        diagonal[self._shaped] += 2 * np.sum(logarithmic[:, self._shaped] * changed, axis=0)
        diagonal[self._shaped] += point.even[2] * (weight @ self._even)
        np.fill_diagonal(matrix, diagonal)
        return np.asarray(matrix)

    def _add_gammas(
        self, block: FloatArray, point: _Point, of_pair: FloatArray, slope: FloatArray, curvature: FloatArray
    ) -> None:
        """Add what two gammas of one bin give; the second derivative where they multiply the same cell."""
        one, other = self._meet
        product = curvature[self._pair_bin[one]] * of_pair[one] * of_pair[other]
        np.add.at(block, (self._pair_gamma[one], self._pair_gamma[other]), product)
        one, other = self._share
        if len(one):
            cell, first, second = self._touched[one], self._touching[one], self._touching[other]
            bent = slope[self._bin[cell]] * point.cells[cell] / (point.gamma[first] * point.gamma[second])
            np.add.at(block, (first, second), bent)


def _summed(index: IntArray, values: FloatArray, n: int) -> FloatArray:
    """Sum values of one index, shape (n,)."""
    return np.bincount(index, values, n).astype(float, copy=False)


def _matrix(dense: FloatArray) -> Any:
    """Return a matrix as it is, or sparse where it is large and mostly empty."""
    if dense.size <= SPARSE_SIZE or np.count_nonzero(dense) > SPARSE_SHARE * dense.size:
        return np.ascontiguousarray(dense)
    from scipy.sparse import csr_array

    return csr_array(dense)


def _both(items: IntArray, group: IntArray, *, with_itself: bool) -> tuple[IntArray, IntArray]:
    """Return the ordered pairs of items of one group, as two arrays; ``group`` (n,) rises along ``items`` (n,)."""
    one: list[int] = []
    other: list[int] = []
    _, starts = np.unique(group, return_index=True)
    for members in np.split(items, starts[1:]):
        for first in members.tolist():
            for second in members.tolist():
                if with_itself or first != second:
                    one.append(first)
                    other.append(second)
    return np.array(one, dtype=np.intp), np.array(other, dtype=np.intp)
