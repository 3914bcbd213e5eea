"""The result of a run, and of a comparison, in a few lines of Markdown: the description of a run in MLflow."""

from __future__ import annotations

from inferno_cli.names import markdown
from inferno_cli.report.run.canvas import title
from inferno_cli.report.run.summary import decimals
from inferno_cli.runs.record import Results


def headline(results: Results) -> str:
    """Return mu with its errors, and what it was measured with."""
    mu = results.mu
    digits = decimals(mu.hesse)
    errors = []
    if mu.minos is not None:
        errors.append(f"{mu.minos[0]:+.{digits}f} / {mu.minos[1]:+.{digits}f} (MINOS)")
    if mu.error is not None:
        errors.append(f"±{mu.error:.{digits}f} (HESSE)")
    for _, quantity, value in results.outcomes():
        for text, estimate in quantity.estimates(value).items():
            if estimate.error is not None:
                errors.append(f"±{estimate.error:.{digits}f} ({text})")
    # MLflow folds a description after some three lines; what must be said with every number comes before.
    what = markdown(title(results)) + (f". **{markdown(results.label)}**" if results.label else "")
    lines = [f"**mu = {mu.bestfit:z.{digits}f}**, {', '.join(errors)}", what]
    for name, quantity, value in results.outcomes():
        if quantity.is_foremost:
            lines += [f"{heading}: {text}" for heading, text in quantity.rows(name, value, results)]
    if results.sigma_s is not None:
        bound = "" if results.cramer_rao_bound_s is None else f", Cramér-Rao bound {results.cramer_rao_bound_s:.4g}"
        lines.append(f"sigma(s) = {results.sigma_s:.4g}{bound}")
    return "\n\n".join(lines)
