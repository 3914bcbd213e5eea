"""The expected significance without any uncertainty."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from inferno_cli.training.metrics import Metric

if TYPE_CHECKING:
    from inferno_cli.likelihood.asimov import AsimovFit


class AsimovSignificance(Metric):
    """The expected significance if nothing but the POI is unknown (arXiv:1007.1727, equation 97)."""

    kind: Literal["z_asimov"] = "z_asimov"
    title: ClassVar[str] = "Z, no unc."

    def value(self, fit: AsimovFit) -> float:
        """Return the significance."""
        return fit.z_asimov

    def merit(self, fit: AsimovFit) -> float:
        """Return 1 / Z^2."""
        from inferno_cli.likelihood.asimov import variance_of

        return variance_of(fit.z_asimov**2)
