"""Discovery: the expected p-value of no signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from inferno_cli.training.objectives import HypothesisTest

if TYPE_CHECKING:
    from torch import Tensor

    from inferno_cli.likelihood.expectation import Expectation


class DiscoveryPValue(HypothesisTest):
    """The p-value of no signal in the Asimov data of the nominal signal, from q0 (arXiv:1007.1727)."""

    kind: Literal["p0"] = "p0"
    """The expected p-value of a discovery."""

    def statistic(self, templates: Expectation) -> Tensor:
        """q0."""
        from inferno_cli.likelihood.profile import q0

        statistic: Tensor = q0(templates)
        return statistic

    def log_p_value(self, statistic: Tensor) -> Tensor:
        """Logarithm of p0."""
        from inferno_cli.likelihood.profile import log_p0

        logarithm: Tensor = log_p0(statistic)
        return logarithm
