"""What `inferno anomaly` found as tables."""

from __future__ import annotations

from inferno_cli.anomaly.record import AnomalyRecord, Pair
from inferno_cli.report.tables import Line, Table, show_title, terminal


def title(record: AnomalyRecord) -> str:
    """Return what the record is of."""
    region = "" if record.selection is None else f", {record.selection}"
    return f"anomaly score on {record.dataset}{region}, template split"


def _said(pair: Pair | None, plus_minus: str) -> str:
    """Return a number with its statistical error; where no event passes, no error is known."""
    if pair is None:
        return ""
    return f"{pair[0]:.3f} {plus_minus}{pair[1]:.3f}" if pair[1] > 0 else f"{pair[0]:.3f}"


def of_scores(record: AnomalyRecord, plus_minus: str = "±") -> Table:
    """Return the table of the scores that were judged."""
    headings = ["score", "AUC", "background that passes", "signal that passes", "Z_A", "simulated background"]
    lines = []
    for item in record.scores:
        first = [item.title, _said(item.auc, plus_minus)]
        for point in item.points:
            numbers = [f"{100 * point.rate:g}%", _said(point.efficiency, plus_minus), _said(point.z_asimov, plus_minus)]
            lines.append(Line([*first, *numbers, str(point.simulated)]))
            first = ["", ""]
    note = (
        "Z_A: expected significance in the one bin above a cut, without systematics. Simulated background: events "
        "above it; with a few, no error is to be trusted. Errors: bootstrap of the simulated events."
    )
    return Table(headings, lines, title="Scores", note=note)


def of_samples(record: AnomalyRecord) -> Table:
    """Return the table of the losses of all samples."""
    headings = ["sample", "expected", "simulated", "loss, median", "16%", "84%", "reconstruction", "divergence"]
    lines = []
    for item in record.samples:
        _, low, median, high, _ = item.loss
        numbers = (median, low, high, item.reconstruction, item.divergence)
        cells = [item.name, f"{item.expected:.1f}", str(item.simulated), *(f"{x:.2f}" for x in numbers)]
        lines.append(Line(cells, kind="poi" if item.is_signal else ""))
    note = f"Reconstruction with {record.beta:g} times the divergence, at the mean of the posterior. Signal is bold."
    return Table(headings, lines, title="Loss", note=note)


def trained_on(record: AnomalyRecord) -> str:
    """Return what the network is and was trained on."""
    events, validated = record.trained_on
    said = (
        f"VAE: {record.latent} latent variables, beta {record.beta:g}, {record.prior} prior, best of "
        f"{len(record.epochs)} epochs {record.best_epoch + 1}; {events} background events to train, {validated} to "
        f"select; -ELBO {record.negative_elbo:.3f} an event"
    )
    negative = max(record.negative_weights)
    return said + (f"; {100 * negative:.1f}% negative weights count with their size" if negative else "")


def show(record: AnomalyRecord) -> None:
    """Print the tables."""
    console = terminal()
    plus_minus = "±" if console.encoding.lower().startswith("utf") else "+-"
    show_title(console, title(record), record.label)
    console.print(trained_on(record), soft_wrap=True)
    for table in (of_samples(record), of_scores(record, plus_minus)):
        console.print()
        console.print(table)


def description(record: AnomalyRecord) -> str:
    """Return the tables in Markdown, for MLflow."""
    lines = [f"**{title(record)}**", "", *([record.label, ""] if record.label else []), trained_on(record), ""]
    return "\n".join([*lines, *of_scores(record).markdown(), "", *of_samples(record).markdown()])
