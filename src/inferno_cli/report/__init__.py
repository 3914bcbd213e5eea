"""Report: the record of a run, its table on the terminal, its plots; and runs beside each other."""

from inferno_cli.report.comparison import Comparison
from inferno_cli.report.comparison_page import PAGE, write_comparison
from inferno_cli.report.comparison_tables import show_comparison
from inferno_cli.report.plots import draw
from inferno_cli.report.records import fit_records
from inferno_cli.report.results import (
    RESULTS_FILE,
    PoiVarianceRecord,
    Results,
    TrainedInRecord,
    TrainingRecord,
    bin_records,
    finite,
)
from inferno_cli.report.table import closing_line, show, summary
from inferno_cli.report.yields import write_yields

__all__ = [
    "PAGE",
    "RESULTS_FILE",
    "Comparison",
    "PoiVarianceRecord",
    "Results",
    "TrainedInRecord",
    "TrainingRecord",
    "bin_records",
    "closing_line",
    "draw",
    "finite",
    "fit_records",
    "show",
    "show_comparison",
    "summary",
    "write_comparison",
    "write_yields",
]
