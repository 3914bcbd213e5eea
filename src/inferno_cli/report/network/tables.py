"""What a network learnt as tables on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from inferno_cli.histograms.symmetry import hidden_bins, is_hidden
from inferno_cli.histograms.yield_changes import TOTAL
from inferno_cli.report.tables import Line, Table, show_title, terminal
from inferno_cli.runs.explanation import EXPLANATION_FILE, Explanation

MAX_SHOWN = 3
"""Parameters on the terminal, those that move a bin most."""


def title(explanation: Explanation, channel: str = "") -> str:
    """Return what is explained, or the part of it in one of several channels."""
    of_channel = f", {channel}" if channel else ""
    return f"{explanation.model_title or explanation.model} on {explanation.dataset}, template split{of_channel}"


def show_explanation(explanation: Explanation) -> None:
    """Print the importance of the features, and the bins with their largest responses."""
    console = terminal()
    show_title(console, f"{title(explanation)}: sigma(mu) {explanation.sigma_mu:#.4g}", explanation.label)
    lines = []
    for item in explanation.importance:
        changes = (item.change, item.low, item.high)
        change = ["singular" if x is None else f"{100 * x / explanation.sigma_mu:+.1f}%" for x in changes]
        sigma = "singular" if item.change is None else f"{explanation.sigma_mu + item.change:#.4g}"
        lines.append(Line([item.feature, sigma, *change]))
    headings = ["shuffled feature", "sigma(mu)", "change", "smallest", "largest"]
    console.print(Table(headings, lines))
    for channel in explanation.channels:
        _show_bins(console, explanation.of_channel(channel), channel if len(explanation.channels) > 1 else "")
    if hidden := _hidden(explanation):
        console.print()
        console.print(hidden)
    n_left = len({item.parameter for item in explanation.responses}) - MAX_SHOWN
    if n_left > 0:
        console.print(Text(f"and {n_left} more parameters in {EXPLANATION_FILE}", style="dim"))


def _show_bins(console: Console, explanation: Explanation, channel: str) -> None:
    """Print what the bins of one channel are made of, with their largest responses."""
    plus_minus = "±" if console.encoding.lower().startswith("utf") else "+-"
    totals = [item for item in explanation.responses if item.sample == TOTAL]
    shown = sorted(totals, key=lambda item: -max((abs(x) for x in (*item.up, *item.down) if x is not None), default=0))
    names = list(explanation.bins[0].samples)
    headings = [
        f"bin of {channel}" if channel else "bin",
        "events",
        *(f"% {name}" for name in names),
        *(f"{x.parameter} (%)" for x in shown[:MAX_SHOWN]),
    ]
    lines = []
    for number, entry in enumerate(explanation.bins):
        shares = [f"{100 * entry.samples[name][0] / entry.total[0]:.1f}" for name in names]
        moved = [f"{item.up[number]:+.1f}/{item.down[number]:+.1f}" for item in shown[:MAX_SHOWN]]
        events = f"{entry.total[0]:.1f} {plus_minus}{entry.total[1]:.1f}"
        lines.append(Line([number, events, *shares, *moved]))
    console.print()
    console.print(Table(headings, lines))


def _hidden(explanation: Explanation) -> Table | None:
    """Return the shapes whose up and down move the bins to one side, which nothing but MINOS sees; None: none does."""
    lines = []
    for name, item in explanation.parts.items():
        if is_hidden(item):
            labels = explanation.bin_labels
            bins = [f"{labels[n]}: {item.even_bins[n]:+.2f} {abs(item.odd_bins[n]):.2f}" for n in hidden_bins(item)]
            lines.append(Line([name, f"{item.even:.2f}", f"{item.odd:.2f}", ", ".join(bins)]))
    headings = ["up and down to one side", "by (bin errors)", "apart by", "bin: to one side, apart"]
    return Table(headings, lines) if lines else None
