"""Exclusion: the expected CLs of the nominal signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from inferno_cli.training.objectives import HypothesisTest

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.likelihood.expectation import Expectation


class ExclusionCls(HypothesisTest):
    """CLs of the nominal signal in the Asimov data without one, from q-tilde (arXiv:1007.1727)."""

    kind: Literal["cls"] = "cls"
    """The expected CLs of the nominal signal."""

    def statistic(self, templates: Expectation) -> Tensor:
        """q-tilde of mu = 1."""
        from inferno_cli.likelihood.profile import q_of_exclusion

        statistic: Tensor = q_of_exclusion(templates)
        return statistic

    def log_p_value(self, statistic: Tensor) -> Tensor:
        """Logarithm of CLs."""
        from inferno_cli.likelihood.profile import log_cls

        logarithm: Tensor = log_cls(statistic)
        return logarithm
