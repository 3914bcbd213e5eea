"""Rectangular cuts: an event passes where every output is on the right side of its cut.

In the training a cut is a sigmoid, and an event passes by the product of them: so the place of a cut has a gradient (as
in neos, arXiv:2203.05570). The result has hard cuts. Events that fail are a bin, too: what they say of the background
counts in the fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from inferno_cli.section import Names, Positive
from inferno_cli.training.summaries import NominalEvents, Summary

if TYPE_CHECKING:
    from torch import Tensor, nn

    from inferno_cli.training.onnx import Graph

Side = Literal["above", "below"]


class Cuts(Summary):
    """Two bins: events that fail and events that pass."""

    ordered: ClassVar[bool] = True
    smoothing: ClassVar[str] = "width"
    fixed: ClassVar[Names] = ("cuts",)
    learnt: ClassVar[Names] = ("starts", "scales", "cuts_at")
    kind: Literal["cuts"] = "cuts"
    """Products of sigmoids in the training, hard cuts in the result."""
    cuts: Annotated[int, Field(ge=1)] | Annotated[dict[str, Side], Field(min_length=1)]
    """Outputs with a cut and the side that passes, or how many: then the side is that of the signal's mean."""
    width: Positive
    """Width of a sigmoid, in standard deviations of the output: of the soft templates alone."""
    starts: tuple[float, ...] | None = None
    """Where the training begins, half way between signal and background: the training places and stores it."""
    scales: tuple[float, ...] | None = None
    """Standard deviations of the outputs, negative where what is below passes: the training stores them."""
    cuts_at: tuple[float, ...] | None = None
    """The cuts: the training places and stores them."""
    _numbers: Tensor | None = PrivateAttr(default=None)

    @property
    def names(self) -> Names:
        """Names of the cuts."""
        return tuple(self.cuts) if isinstance(self.cuts, dict) else tuple(f"cut_{i}" for i in range(self.cuts))

    @property
    def n_outputs(self) -> int:
        """One for each cut."""
        return len(self.names)

    @property
    def n_bins(self) -> int:
        """Fails, passes."""
        return 2

    @property
    def response_names(self) -> Names:
        """The cuts."""
        return self.names

    @property
    def n_trained(self) -> int:
        """How far each cut is from its start, in standard deviations of its output."""
        return self.n_outputs

    def at(self, numbers: Tensor) -> Self:
        """Return the summary with cuts that are numbers away from their starts, shape (n_cuts,)."""
        summary = self.model_copy()
        summary._numbers = numbers
        return summary

    def placed(self, samples: Sequence[NominalEvents], outputs: Callable[[Tensor], Tensor]) -> Self:
        """Begin half way between signal and background; later, write where the cuts are by now."""
        summary = self if self.starts is not None else self._begun(samples, outputs)
        assert summary.starts is not None
        cuts = summary.starts if summary._numbers is None else tuple(summary._live(summary._numbers.detach()).tolist())
        summary = summary.model_copy(update={"cuts_at": cuts})
        summary._numbers = None
        return summary

    def spread(self, network: nn.Sequential, features: Tensor) -> None:
        """Give the outputs of a network the scale of the cuts; features stay what they are."""
        from inferno_cli.training.layers import spread_outputs

        spread_outputs(network, features, 1.0)

    def soft(self, outputs: Tensor) -> Tensor:
        """Share that fails, and share that passes."""
        import torch

        passes = (self.response(outputs) / self.width).sigmoid().prod(dim=-1)
        return torch.stack([1 - passes, passes], dim=-1)

    def hard(self, outputs: Tensor) -> Tensor:
        """1 for the events that pass, with those on a cut."""
        return (self.response(outputs) >= 0).all(dim=-1).long()

    def margin(self, outputs: Tensor) -> Tensor:
        """Distance from the cut that decides, in units of the outputs."""
        distance = self.response(outputs)
        return (distance * distance.new_tensor(self._known(self.scales)).abs()).amin(dim=-1).abs()

    def response(self, outputs: Tensor) -> Tensor:
        """How far each output is on the side that passes, in standard deviations."""
        from inferno_cli.training.constants import constant

        own = outputs.double()
        cuts = constant(self._known(self.cuts_at), own) if self._numbers is None else self._live(self._numbers)
        return (own - cuts.to(own)) / constant(self._known(self.scales), own)

    def to_onnx(self, graph: Graph, outputs: str) -> tuple[str, str]:
        """Add the distances from the cuts, and whether all are passed."""
        import numpy as np

        centred = graph("Sub", outputs, graph.constant(self._known(self.cuts_at)))
        response = graph("Div", centred, graph.constant(self._known(self.scales)))
        passed = graph.cast(graph("GreaterOrEqual", response, 0.0), np.int64)
        number = graph("ReduceSum", passed, graph.constant([-1], np.int64), keepdims=0)
        return response, graph.cast(graph("Equal", number, graph.constant(self.n_outputs, np.int64)), np.int64)

    def _begun(self, samples: Sequence[NominalEvents], outputs: Callable[[Tensor], Tensor]) -> Self:
        """Return the summary with starts and scales; signal and background count half each, as in a classifier."""
        import torch

        means, squares = [], []
        for is_signal in (True, False):
            chosen = [sample for sample in samples if sample.is_signal == is_signal]
            values = torch.cat([outputs(sample.features).double() for sample in chosen])
            weights = torch.cat([sample.weights for sample in chosen]).to(values)
            share = weights / weights.sum()
            means.append(share @ values)
            squares.append(share @ values.square())
        start, above = (means[0] + means[1]) / 2, means[0] >= means[1]
        scale = ((squares[0] + squares[1]) / 2 - start**2).clamp_min(torch.finfo(start.dtype).tiny).sqrt()
        if isinstance(self.cuts, dict):
            above = torch.tensor([side == "above" for side in self.cuts.values()], device=scale.device)
        scales = torch.where(above, scale, -scale)
        return self.model_copy(update={"starts": tuple(start.tolist()), "scales": tuple(scales.tolist())})

    def _live(self, numbers: Tensor) -> Tensor:
        """Return cuts that are numbers away from their starts, shape (n_cuts,), float64."""
        numbers = numbers.double()
        starts, scales = (numbers.new_tensor(self._known(values)) for values in (self.starts, self.scales))
        return starts + numbers * scales.abs()

    @staticmethod
    def _known(values: tuple[float, ...] | None) -> tuple[float, ...]:
        if values is None:
            raise ValueError("the cuts are not placed by a training yet")
        return values
