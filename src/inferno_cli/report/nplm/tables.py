"""The record of a test as tables: on the terminal and in the page."""

from __future__ import annotations

from rich.text import Text

from inferno_cli.nplm.distribution import chi2_median
from inferno_cli.nplm.record import AGREES, Ensemble, Record, Tail
from inferno_cli.report.tables import Line, Table, show_title, terminal


def title(record: Record) -> str:
    """Return what a page, a plot or a table shows."""
    return f"NPLM: {record.dataset}, reference {', '.join(record.reference)}"


def tables(record: Record) -> tuple[Table, ...]:
    """Return every table, in the order of the page."""
    return (_distributions(record), _significances(record), _nuisances(record), _expansions(record))


def show_test(record: Record) -> None:
    """Print the test to stdout."""
    console = terminal()
    show_title(console, title(record), record.label)
    console.print(Text(about(record)), soft_wrap=True)
    for table in (_distributions(record), _significances(record), _nuisances(record)):
        if table.rows:
            console.print()
            console.print(Text(table.title, style="bold"))
            console.print(table)
    for text in record.notes:
        console.print(Text(f"note: {text}"), soft_wrap=True)


def about(record: Record) -> str:
    """Say what was tested with what."""
    clip = "" if record.clip is None else f", clip {record.clip:g}"
    fitted = ", fitted to toys" if record.is_fitted else ""
    return (
        f"{record.expected:.4g} expected events, reference of {record.n_reference} from {record.n_pool} simulated "
        f"ones; {record.model} of {record.parameters} parameters{clip}, chi2 with {record.degrees:.3g} degrees of "
        f"freedom{fitted}"
    )


def _distributions(record: Record) -> Table:
    lines = []
    for item in (record.null, *record.validation):
        numbers = (len(item.t), f"{item.median:.2f}", f"{item.ks:.3f}", _verdict(item), f"{item.ks_tau:.2g}")
        same = "" if item is record.null else f"{item.same:.3f}"
        lines.append(Line([item.name, *numbers, same, item.unconverged]))
    note = (
        f"Toys: t against chi2, whose median is {chi2_median(record.degrees):.2f}. KS: p-value of the test of "
        f"Kolmogorov and Smirnov; t follows chi2 where it is above {AGREES:g}. tau is t without the uncertainties of "
        "the reference: where a nuisance parameter is not nominal it should fail. With null: p-value of t "
        "against the null toys. Not ended: toys whose fit took the largest number of steps."
    )
    headings = ("toys", "number", "median t", "KS of t", "", "KS of tau", "with null", "not ended")
    return Table(headings, lines, 1, "Distribution of t", note)


def _verdict(item: Ensemble) -> str:
    return "chi2" if item.follows_chi2 else "not chi2"


def _significances(record: Record) -> Table:
    lines = []
    for tail in (record.injected, record.tested):
        if tail is not None:
            low, high = tail.z_interval
            of_median = f" ({low:.2f} to {high:.2f})" if tail is record.injected else ""
            numbers = (f"{tail.t:.2f}", f"{tail.p:.2g}", f"{tail.z:.2f}{of_median}", tail.by_toys)
            lines.append(Line([tail.name, "nplm", *numbers, _ratio(record, tail)]))
    for other in record.compared:
        lines.append(Line([other.run, other.model, "", "", f"{other.z:.2f}", "", ""], "published"))
    note = (
        "Of an injected signal t is the median of toys, Z with its 68% interval. Z by toys counts toys of the "
        "reference, and is a bound where none has so large a t. Below: expected significance of finished runs that "
        "know the signal, and what Z of nplm is of the first of them (published for other data: 0.37)."
    )
    return Table(("data", "test", "t", "p", "Z", "Z by toys", "ratio"), lines, 2, "Significance", note)


def _ratio(record: Record, tail: Tail) -> str:
    if tail is not record.injected or not record.compared:
        return ""
    return f"{tail.z / record.compared[0].z:.2f}"


def _nuisances(record: Record) -> Table:
    lines = []
    if record.tested is not None:
        for name, (with_f, alone) in record.tested.nuisance.items():
            lines.append(Line([name, f"{alone:+.2f}", f"{with_f:+.2f}"]))
    note = "Best fits to the data in units of sigma: of the reference alone, and with f."
    return Table(("parameter", "reference", "with f"), lines, 1, "Nuisance parameters", note)


def _expansions(record: Record) -> Table:
    lines = []
    for item in record.expansions:
        constants = ", ".join(f"{value:.4g}" for value in item.constants)
        if item.constants:
            lines.append(Line([item.name, "", item.order, f"constants {constants}", ""]))
        for check in item.checks:
            chi2 = f"{check.chi2:.1f} / {check.degrees}"
            lines.append(Line([item.name, check.feature, check.order, "networks", chi2]))
    note = (
        "ln r, the change of the reference, is delta_1(x) nu + delta_2(x) nu² + ... Of a normalisation the delta are "
        "constants; else networks, and chi2 says how well a polynomial of some order describes ln r in ten bins of "
        "a feature. An order is too low where chi2 is far above its degrees of freedom. The values of nu are moved "
        "copies of the same events, so chi2 is a guide."
    )
    headings = ("parameter", "feature", "order", "delta", "chi2 / d.o.f.")
    return Table(headings, lines, 2, "Nuisance parameters: order", note)
