"""Metrics: what templates with hard bins are worth, whatever the network was trained for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from inferno_cli.choices import sections
from inferno_cli.errors import FitFailedError, SingularInformationError, closest
from inferno_cli.section import Names, Section

if TYPE_CHECKING:
    from inferno_cli.likelihood.asimov import AsimovFit
    from inferno_cli.likelihood.expectation import Expectation
    from inferno_cli.training.objectives import FigureOfMerit

PACKAGE = "inferno_cli.training.metrics"


class Metric(Section, ABC):
    """A number of the Asimov fit of hard templates.

    Attributes:
        title: What tables call it.
        form: Format specification of its value.
        is_foremost: Whether it stands in the summary of a run.
        each_epoch: Whether it is quick enough for every epoch of a training.
    """

    title: ClassVar[str]
    form: ClassVar[str] = "z.3f"
    is_foremost: ClassVar[bool] = False
    each_epoch: ClassVar[bool] = True
    kind: str

    @abstractmethod
    def value(self, fit: AsimovFit) -> float:
        """Return the number.

        Raises:
            SingularInformationError: If the parameters cannot be told apart.
            FitFailedError: If a fit that it needs does not converge.
        """

    @abstractmethod
    def merit(self, fit: AsimovFit) -> float:
        """Return what rises as the templates get worse, such as a variance of the POI: an epoch is chosen by it."""

    def choosing(self, merit: FigureOfMerit) -> FigureOfMerit:
        """Return the figure of merit of a training whose epoch this chooses; bins are merged as before."""
        return replace(merit, exact=self.of_templates)

    def of_templates(self, templates: Expectation, pois: Names) -> float:  # noqa: ARG002
        """Return the merit of templates, of numpy or torch."""
        from inferno_cli.likelihood.asimov import AsimovFit

        return self.merit(AsimovFit.of(templates))


@cache
def metrics() -> dict[str, Metric]:
    """Return every metric, by its kind; those of installed packages last."""
    found = {}
    for kind, section in sections(PACKAGE, Metric).items():  # type: ignore[type-abstract]
        found[kind] = section()  # type: ignore[call-arg]
    return found


def require_metric(name: str) -> None:
    """Raise ValueError if there is no metric of a name."""
    known = metrics()
    if name not in known:
        raise ValueError(f"{name!r} is no metric{closest(name, known)}. Choose one of {', '.join(known)}")


def measured(templates: Expectation, *, of_an_epoch: bool = False) -> tuple[dict[str, float], dict[str, str]]:
    """Return every metric of templates by its kind, and why those that are left out could not be had.

    Args:
        of_an_epoch: Take those that are quick alone.
    """
    from inferno_cli.likelihood.asimov import AsimovFit

    fit = AsimovFit.of(templates)
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    for kind, metric in metrics().items():
        if of_an_epoch and not metric.each_epoch:
            continue
        try:
            values[kind] = float(metric.value(fit))
        except (FitFailedError, SingularInformationError) as error:
            missing[kind] = str(error)
    return values, missing
