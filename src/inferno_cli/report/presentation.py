"""What the section ``report`` of a configuration asks for, as plots take it."""

from __future__ import annotations

from inferno_cli.config.schema import Report
from inferno_cli.drawing.presentation import Presentation


def presentation(report: Report, downsample_factor: float = 1.0) -> Presentation:
    """Return how the plots of a record look; less luminosity stands there where less of it was taken."""
    luminosity = report.luminosity
    if luminosity is None:
        text = ""
    elif isinstance(luminosity, str):
        text = luminosity if downsample_factor == 1 else rf"{downsample_factor:g} $\times$ {luminosity}"
    else:
        text = rf"{luminosity * downsample_factor:.4g} fb$^{{-1}}$"
    energy = f"{report.energy:g} TeV" if isinstance(report.energy, float) else report.energy or ""
    if text and energy:
        energy = f"({energy})"
    return Presentation(
        experiment=report.experiment,
        status=report.status,
        luminosity=" ".join(filter(None, (text, energy))),
        titles={name: item.title for name, item in report.samples.items() if item.title is not None},
        colours={name: item.colour for name, item in report.samples.items() if item.colour is not None},
        groups=report.groups,
    )
