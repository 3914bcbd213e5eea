"""Report: the record of a run, its table on the terminal, its plots; and runs beside each other."""

from inferno_cli.report.comparison import Comparison
from inferno_cli.report.comparison_page import PAGE, write_comparison
from inferno_cli.report.comparison_tables import show_comparison
from inferno_cli.report.data_page import write_data
from inferno_cli.report.data_tables import show_data
from inferno_cli.report.explanation import (
    EXPLANATION_FILE,
    Explanation,
    ImportanceRecord,
    ResponseRecord,
    by_importance,
    compositions,
    show_explanation,
)
from inferno_cli.report.explanation_plots import Slice, draw_explanation
from inferno_cli.report.headline import comparison_headline, headline
from inferno_cli.report.plots import draw
from inferno_cli.report.records import fit_records
from inferno_cli.report.results import (
    RESULTS_FILE,
    PartsRecord,
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
    "EXPLANATION_FILE",
    "PAGE",
    "RESULTS_FILE",
    "Comparison",
    "Explanation",
    "ImportanceRecord",
    "PartsRecord",
    "PoiVarianceRecord",
    "ResponseRecord",
    "Results",
    "Slice",
    "TrainedInRecord",
    "TrainingRecord",
    "bin_records",
    "by_importance",
    "closing_line",
    "comparison_headline",
    "compositions",
    "draw",
    "draw_explanation",
    "finite",
    "fit_records",
    "headline",
    "show",
    "show_comparison",
    "show_data",
    "show_explanation",
    "summary",
    "write_comparison",
    "write_data",
    "write_yields",
]
