"""The minimum of the extended likelihood of a stack of toys, by damped Newton steps within bounds.

The loss of one toy is sum_i w_i (exp(g_i) - 1) - n_i g_i + sum_p ridge_p (theta_p - centre_p)^2 / 2 with g of event i a
function of the parameters theta. Its Hessian is what is expected, J^T diag(w exp(g)) J + ridge, and a sum over
(w exp(g) - n) times the second derivatives of g. The first part is calculated; the second, 0 where g is linear, is
learnt from the gradients of the steps (a symmetric update of rank one, as in NL2SOL of Dennis, Gay and Welsch, ACM TOMS
7 (1981) 348). A network fits fluctuations, for which the second part is as large as the first: without it a fit takes
ten times as many steps.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

BLOCK = 200_000
"""Numbers of a Jacobian in memory at a time: as many as the cache of a CPU holds."""
GPU_BLOCK = 100_000_000
"""The same on a GPU: a kernel that is small leaves most of it idle."""
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-9, 1e9
SMALLER, LARGER = 0.25, 4.0
"""By what the damping is multiplied after a step that went down, and after one that did not."""
FLOOR = 1e-6
"""Smallest curvature that scales a parameter, relative to the largest: a unit that does nothing yet has none."""
PARALLEL = 1e-8
"""Cosine below which a change of the gradient says nothing of the curvature along its step."""
CALM = 3
"""So many steps in a row that gain less than the tolerance end a fit."""


class Model(Protocol):
    """What is fitted: g of the events of a stack, and the quadratic terms of its parameters."""

    @property
    def weights(self) -> Tensor:
        """Return w, shape (toys, events)."""

    @property
    def counts(self) -> Tensor:
        """Return n, shape (toys, events)."""

    @property
    def bound(self) -> Tensor:
        """Largest absolute value of each parameter, shape (P,)."""

    @property
    def ridge(self) -> Tensor:
        """Strength of the quadratic terms, shape (P,)."""

    @property
    def centre(self) -> Tensor:
        """Where they are 0, shape (toys, P)."""

    def of(self, toys: Tensor) -> Model:
        """Return the model of some of the toys, by number."""

    def value(self, rows: slice, parameters: Tensor) -> Tensor:
        """Return g of some events, shape (toys, events)."""

    def jacobian(self, rows: slice, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return g, and its derivatives, shape (toys, events, P)."""


class Minimum(NamedTuple):
    """The end of the fits of a stack.

    Attributes:
        loss: Shape (toys,).
        parameters: Shape (toys, P).
        steps: Steps of each, shape (toys,).
        converged: Whether each has ended before the steps did, shape (toys,).
    """

    loss: Tensor
    parameters: Tensor
    steps: Tensor
    converged: Tensor


def minimise(model: Model, start: Tensor, *, steps: int = 300, tolerance: float = 1e-3) -> Minimum:
    """Minimise the loss of every toy by itself: none depends on the others of the stack, but for rounding.

    Args:
        model: What is fitted.
        start: Parameters, shape (toys, P).
        steps: At most so many.
        tolerance: A fit has ended where several steps in a row gain less than this of the loss.

    Returns:
        The minimum: never above the start.
    """
    parameters = torch.maximum(torch.minimum(start, model.bound), -model.bound)
    loss = losses(model, parameters)
    gradient, expected = _derivatives(model, parameters)
    learnt = torch.zeros_like(expected)
    damping = torch.full_like(loss, FIRST_DAMPING)
    calm, used = torch.zeros_like(loss), torch.zeros_like(loss)
    active = torch.arange(len(start), device=start.device)
    for _ in range(steps):
        here, part = parameters[active], model.of(active)
        new = _step(model.bound, here, gradient[active], expected[active], learnt[active], damping[active])
        reached = losses(part, new)
        gain = loss[active] - reached
        is_down = gain > 0  # false for a number that is none, too
        moved = active[is_down]
        if len(moved):
            at_new, hessian = _derivatives(part.of(is_down.nonzero()[:, 0]), new[is_down])
            learnt[moved] += _learnt(new[is_down] - here[is_down], at_new - gradient[moved], hessian + learnt[moved])
            parameters[moved], loss[moved] = new[is_down], reached[is_down]
            gradient[moved], expected[moved] = at_new, hessian
        factor = torch.where(is_down, SMALLER, LARGER)
        damping[active] = (damping[active] * factor).clamp(LEAST_DAMPING, MOST_DAMPING)
        is_calm = (is_down & (gain < tolerance)) | (damping[active] >= MOST_DAMPING)
        calm[active] = torch.where(is_calm, calm[active] + 1, torch.where(is_down, 0.0, calm[active]))
        used[active] += 1
        active = active[calm[active] < CALM]
        if not len(active):
            break
    return Minimum(loss, parameters, used, calm >= CALM)


def losses(model: Model, parameters: Tensor) -> Tensor:
    """Return the loss of every toy, shape (toys,)."""
    total = (model.ridge * (parameters - model.centre) ** 2).sum(dim=1) / 2
    for rows in _blocks(model, parameters):
        g = model.value(rows, parameters)
        total = total + (model.weights[:, rows] * torch.expm1(g) - model.counts[:, rows] * g).sum(dim=1)
    return total


def _derivatives(model: Model, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient, shape (toys, P), and the expected Hessian, shape (toys, P, P)."""
    gradient = model.ridge * (parameters - model.centre)
    hessian = torch.diag_embed(model.ridge.expand_as(parameters)).clone()
    for rows in _blocks(model, parameters):
        g, jacobian = model.jacobian(rows, parameters)
        expected = model.weights[:, rows] * torch.exp(g)
        missing = expected - model.counts[:, rows]
        gradient = gradient + torch.bmm(jacobian.mT, missing[..., None])[..., 0]
        hessian.baddbmm_(jacobian.mT, jacobian * expected[..., None])
    return gradient, hessian


def _step(
    bound: Tensor, parameters: Tensor, gradient: Tensor, expected: Tensor, learnt: Tensor, damping: Tensor
) -> Tensor:
    """Return the parameters after one step; those at a bound that the step would leave stay there.

    Directions in which the loss bends down are left as fast as if it bent up (saddle-free Newton).
    """
    held = ((parameters >= bound) & (gradient < 0)) | ((parameters <= -bound) & (gradient > 0))
    curvature = torch.diagonal(expected, dim1=1, dim2=2)
    least = FLOOR * curvature.amax(dim=1, keepdim=True) + torch.finfo(curvature.dtype).tiny
    scale = torch.maximum(curvature, least).rsqrt()
    hessian = (expected + learnt) * scale[:, :, None] * scale[:, None, :]
    values, vectors = torch.linalg.eigh(hessian.masked_fill(held[:, :, None] | held[:, None, :], 0.0))
    along = torch.bmm(vectors.mT, (gradient * scale).masked_fill(held, 0.0)[..., None])
    along = along / (values.abs() + damping[:, None])[..., None]
    step = (torch.bmm(vectors, along)[..., 0] * scale).masked_fill(held, 0.0)
    return torch.maximum(torch.minimum(parameters - step, bound), -bound)


def _learnt(step: Tensor, change: Tensor, hessian: Tensor) -> Tensor:
    """Return what a Hessian lacks to explain the change of the gradient along a step, of rank one, (toys, P, P)."""
    missing = change - torch.bmm(hessian, step[..., None])[..., 0]
    product = (missing * step).sum(dim=1)
    says = product.abs() > PARALLEL * missing.norm(dim=1) * step.norm(dim=1)
    factor = torch.where(says, 1 / torch.where(says, product, 1.0), 0.0)
    return missing[:, :, None] * missing[:, None, :] * factor[:, None, None]


def _blocks(model: Model, parameters: Tensor) -> list[slice]:
    """Return parts of the events whose Jacobian is small."""
    n_events = model.weights.shape[1]
    block = BLOCK if parameters.device.type == "cpu" else GPU_BLOCK
    size = max(1, block // parameters.numel())
    return [slice(first, first + size) for first in range(0, n_events, size)]
