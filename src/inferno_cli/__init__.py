"""Train the histogram for the fit: INFERNO against BCE, from ntuples to HistFactory.

The Python interface is ``inferno_cli.api``, whose names are here; nothing heavy is imported before one is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inferno_cli.api import Run, compose, fit_workspace, load_events, open_run, poi_variance, training_set

__version__ = "0.1.0"
__all__ = ["Run", "compose", "fit_workspace", "load_events", "open_run", "poi_variance", "training_set"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'inferno_cli' has no attribute {name!r}")
    from inferno_cli import api

    return getattr(api, name)
