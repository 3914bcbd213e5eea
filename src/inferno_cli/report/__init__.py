"""Report: the record of a run, its table on the terminal, and its plots."""

from inferno_cli.report.plots import draw
from inferno_cli.report.records import fit_records
from inferno_cli.report.results import (
    RESULTS_FILE,
    PoiVarianceRecord,
    Results,
    TrainingRecord,
    bin_records,
    finite,
)
from inferno_cli.report.table import closing_line, show, summary
from inferno_cli.report.yields import write_yields

__all__ = [
    "RESULTS_FILE",
    "PoiVarianceRecord",
    "Results",
    "TrainingRecord",
    "bin_records",
    "closing_line",
    "draw",
    "finite",
    "fit_records",
    "show",
    "summary",
    "write_yields",
]
