"""What the tests of interpolations share: a small grid of signals."""

from __future__ import annotations

from inferno_cli.config.load import compose, resolve
from inferno_cli.interpolation.grid import Grid
from inferno_cli.interpolation.settings import InterpolateConfig

SMALL = (
    "~job",
    "tracking=none",
    "trainer.progress=none",
    "dataset.grid={mean_x: [-1, 0, 1], mean_y: [-1, 0, 1]}",
    "dataset.events={train: 800, validation: 300, template: 2000}",
    "flow={transforms: 2, hidden: [8], members: 2, iterations: 150, batch_size: 500, learning_rate: 0.02}",
    "pulls.flow_events=5000",
    "model.features=2",
)


def configured(dataset: str, *overrides: str) -> InterpolateConfig:
    """Compose an interpolation of nine small signals."""
    return resolve(InterpolateConfig, compose("interpolate", [f"dataset={dataset}", *SMALL, *overrides]))


def small_grid(*overrides: str) -> Grid:
    """Generate the signals of nine means."""
    config = configured("means", *overrides)
    events = config.dataset.load(config.request)
    return Grid.of(events, config.parameter_names, config.points, config.held_out)
