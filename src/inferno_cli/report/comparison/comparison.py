"""The comparison of points: the median and the spread over repeats of every number, beside published ones."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from inferno_cli.config.published import Reference, ReferenceRow
from inferno_cli.config.titles import model_title
from inferno_cli.drawing.presentation import PLAIN, Presentation
from inferno_cli.fit.result import Column, is_ours
from inferno_cli.names import another
from inferno_cli.report.comparison.points import (
    Place,
    Point,
    beside_the_model,
    group,
    last_of_each,
    of_the_models,
    place,
    short_names,
)
from inferno_cli.runs.conditions import Condition, chosen
from inferno_cli.runs.coverage import CoverageRecord
from inferno_cli.runs.found_run import FoundRun
from inferno_cli.runs.points import MODEL
from inferno_cli.runs.record import Results
from inferno_cli.section import POI
from inferno_cli.training.metrics import metrics

BASELINE = ("model=bce",)
"""What the others are divided by unless something else is asked for."""
SPREAD = "median [smallest, largest] of the repeats"


@dataclass(frozen=True)
class Quantity:
    """A column: its name in files, its title, and how it is read from a record."""

    name: str
    title: str
    read: Callable[[Results], float | None]
    form: str = "z.3f"
    """Format specification of its numbers."""
    p_value_of: str | None = None
    """Column with the significance that this p-value belongs to."""
    ratio_of: str | None = None
    """Column that is divided by its median in the runs that all are compared with."""


def _width(results: Results) -> float | None:
    minos = results.mu.minos
    return None if minos is None else minos[1] - minos[0]


def _relative_error(results: Results) -> float | None:
    """HESSE error of the POI divided by its fitted value: of the signal strength and of the yield it is the same."""
    poi = results.mu
    if results.blinded or poi.error is None or poi.bestfit == 0:
        return None
    return poi.error / abs(poi.bestfit)


def _never(results: Results) -> None:
    """Read nothing: what no run says by itself."""


def _bins_before(results: Results) -> float | None:
    """Bins before any were merged."""
    return None if results.bins is None else sum(len(item.merged_from) for item in results.bins)


def _root(results: Results, name: str) -> float | None:
    variance = None if results.poi_variance is None else getattr(results.poi_variance, name)
    return None if variance is None else math.sqrt(variance)


def _overall(results: Results, read: Callable[[CoverageRecord], float]) -> float | None:
    """Return a number of the pseudo-experiments with every true mu, where there are some."""
    overall = None if results.coverage is None else results.coverage.overall()
    return None if overall is None else read(overall)


OF_THE_POI = (
    Quantity("mu", "mu", lambda x: x.mu.bestfit),
    Quantity("minos_down", "MINOS -", lambda x: x.mu.minos[0] if x.mu.minos else None),
    Quantity("minos_up", "MINOS +", lambda x: x.mu.minos[1] if x.mu.minos else None),
    Quantity("width", "width", _width),
    Quantity("hesse", "HESSE", lambda x: x.mu.error),
    Quantity("ratio", "ratio", _never, ratio_of="hesse"),
)
"""First of the main table; ``width`` is that of the MINOS interval. Those of the quantities of the fits follow."""
OF_THE_RUN = (
    Quantity("bins_left", "bins left", lambda x: None if x.bins is None else len(x.bins), ".0f"),
    Quantity("bins", "of", _bins_before, ".0f"),
    Quantity("sigma_mu_soft", "sigma(mu) soft", lambda x: _root(x, "validation_soft")),
    Quantity("sigma_mu_hard", "sigma(mu) hard", lambda x: _root(x, "validation_hard")),
    Quantity("sigma_mu_honest", "sigma(mu) honest", lambda x: _root(x, "honest")),
    Quantity("members_low", "members from", lambda x: x.spread_of_members().get("low")),
    Quantity("members_high", "to", lambda x: x.spread_of_members().get("high")),
    Quantity("optimism", "optimism", lambda x: x.optimism),
    Quantity("sigma_s", "sigma(s)", lambda x: x.sigma_s, "z.2f"),
    Quantity("relative_error_s", "sigma(s)/s", lambda x: None if x.sigma_s is None else _relative_error(x)),
    Quantity("coverage", "coverage", lambda x: _overall(x, lambda item: item.coverage_minos[0])),
    Quantity("coverage_score", "score", lambda x: _overall(x, lambda item: item.score)),
    Quantity("bound_s", "bound", lambda x: x.cramer_rao_bound_s, "z.2f"),
    Quantity("seconds", "wall s", lambda x: sum(x.timing.values()), "z.1f"),
)
"""Last of the main table."""


def _of_the_fits(records: Sequence[Results]) -> Iterator[Quantity]:
    """Yield the columns of every quantity that a fit has; those of other packages are named after theirs."""
    known = {(name, kind) for results in records for name, kind, _ in results.outcomes()}
    for name, kind in sorted(known, key=lambda item: (item[1].order, item[0])):
        prefix = "" if is_ours(kind) else f"{name}_"
        for column in kind.columns:
            p_value_of = None if column.p_value_of is None else f"{prefix}{column.p_value_of}"
            yield Quantity(f"{prefix}{column.name}", column.title, _read(name, column), column.form, p_value_of)


def _read(name: str, column: Column) -> Callable[[Results], float | None]:
    def read(results: Results) -> float | None:
        outcome = results.quantities.get(name)
        return None if outcome is None else column.read(outcome.value, results)

    return read


@dataclass(frozen=True)
class Spread:
    """A number over the repeats."""

    median: float
    low: float
    high: float
    repeats: int


@dataclass(frozen=True)
class Row(Place):
    """A point of the runs, or a published one (then ``source`` is set)."""

    label: str
    repeats: int
    missing: int
    values: Mapping[str, Spread]
    source: str = ""


@dataclass(frozen=True)
class Comparison:
    """Points of one dataset, the published numbers beside them, and what stands on the figures."""

    points: tuple[Point, ...]
    jobs: tuple[FoundRun, ...]
    reference: Reference
    notes: tuple[str, ...] = ()
    shown: Presentation = PLAIN
    baseline: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, jobs: Sequence[FoundRun], reference: Reference, notes: Sequence[str] = (), baseline: Sequence[str] = ()
    ) -> Comparison:
        """Group runs and compare them.

        Args:
            jobs: The runs.
            reference: Published numbers.
            notes: What has to be said of them.
            baseline: Conditions on the runs that the others are divided by; none: ``BASELINE``, where there is one.

        Raises:
            ComparisonError: If they do not belong together, or none has finished, or none is a baseline.
        """
        points = group(jobs)
        versions = sorted({result.code_version for point in points for result in point.results})
        if len(versions) > 1:
            notes = [*notes, f"the runs are of {len(versions)} versions of the code: {', '.join(versions)}"]
        kept = {job.where for job in last_of_each(jobs)}
        if left := sorted({job.where for job in jobs if job.results is not None} - kept):
            notes = [*notes, f"left out, as another run has the same configuration and seed: {', '.join(left)}"]
        if any(result.blinded for point in points for result in point.results):
            notes = [*notes, "the fits are blinded: mu has a hidden offset, the same for the same data"]
        if baseline:
            chosen(baseline, [job.settings for point in points for job in point.jobs], "baseline")
        return cls(points, tuple(jobs), reference, tuple(notes), baseline=tuple(baseline))

    @cached_property
    def bases(self) -> tuple[Point, ...]:
        """Points that the others are divided by; none where nothing else is there."""
        conditions = [Condition.parse(text) for text in self.baseline or BASELINE]
        finished = [point for point in self.points if point.jobs]
        found = []
        for point in finished:
            if all(condition.holds(point.jobs[0].settings) for condition in conditions):
                found.append(point)
        return tuple(found) if len(finished) > 1 else ()

    def base_of(self, point: Point) -> Point | None:
        """Return what a point is divided by: of the bases that at the same place, or the first."""
        return self._base_at.get(point.place, next(iter(self.bases), None))

    @cached_property
    def _base_at(self) -> dict[str, Point]:
        """The first base at each place."""
        return {base.place: base for base in reversed(self.bases)}

    @cached_property
    def results(self) -> tuple[Results, ...]:
        """The records of all finished runs."""
        return tuple(result for point in self.points for result in point.results)

    @property
    def label(self) -> str:
        """What must be said with every number; empty when there is nothing to say."""
        return self.results[0].label

    @property
    def title(self) -> str:
        """What is compared."""
        datasets = ", ".join(dict.fromkeys(result.dataset for result in self.results))
        return f"{datasets}: {len(self.points)} points, {len(self.results)} runs; {SPREAD}"

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in the order of the rows."""
        return tuple(dict.fromkeys(row.model for row in self.rows))

    @cached_property
    def model_titles(self) -> dict[str, str]:
        """What each model is called: by its name where two have one title, as a model made of another one has."""
        found = {row.model: model_title(row.model) for row in self.reference.rows}
        for result in self.results:
            if result.model is not None:
                found[result.model] = result.model_title or result.model
        titles = list(found.values())
        return {name: title if titles.count(title) == 1 else name for name, title in found.items()}

    @property
    def keys(self) -> tuple[str, ...]:
        """The swept parameters, the model first."""
        return tuple(self.points[0].at)

    @property
    def names(self) -> dict[str, str]:
        """Short names of ``keys``."""
        return short_names(self.keys)

    @cached_property
    def missing(self) -> tuple[FoundRun, ...]:
        """Runs that did not finish, and that no other stands for."""
        return tuple(job for job in last_of_each(self.jobs) if job.results is None)

    @cached_property
    def of_the_models(self) -> dict[str, dict[str, Any]]:
        """Settings of the model that are no column, and differ from model to model: their values by model."""
        return of_the_models([job for point in self.points for job in (*point.jobs, *point.missing)])

    @cached_property
    def beside_the_model(self) -> dict[str, dict[str, Any]]:
        """Settings that are no column, not the model's, and differ from model to model: their values by model."""
        return beside_the_model([job for point in self.points for job in (*point.jobs, *point.missing)])

    @cached_property
    def nuisances(self) -> tuple[str, ...]:
        """Parameters of any run but mu and the entries of vectors."""
        names = dict.fromkeys(name for result in self.results for name in result.scalars)
        names.pop(POI, None)
        return tuple(names)

    @cached_property
    def pois(self) -> tuple[str, ...]:
        """Parameters of interest of any run but mu; they are in ``nuisances``, too."""
        return tuple(dict.fromkeys(poi for result in self.results for poi in result.pois))

    @cached_property
    def _main(self) -> tuple[Quantity, ...]:
        of_the_pois = [*OF_THE_POI]
        for poi in self.pois:
            of_the_pois.append(Quantity(poi, poi, _bestfit(poi)))
            of_the_pois.append(Quantity(f"sigma_{poi}", f"sigma({poi})", _sigma(poi)))
            of_the_pois.append(Quantity(f"correlation_{POI}_{poi}", f"cor({POI}, {poi})", _correlation(POI, poi)))
        return (*of_the_pois, *_of_the_fits(self.results), *OF_THE_RUN)

    @cached_property
    def _metrics(self) -> tuple[Quantity, ...]:
        return tuple(Quantity(kind, item.title, _metric(kind), item.form) for kind, item in metrics().items())

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """Every column, first those of the main table; without those that no run has."""
        pairs = [pair for pair in itertools.combinations((POI, *self.nuisances), 2) if not self._is_main(*pair)]
        nuisances = [name for name in self.nuisances if name not in self.pois]
        found = [
            *self._main,
            *self._metrics,
            *(Quantity(f"sigma_{name}", f"sigma({name})", _sigma(name)) for name in nuisances),
            *(Quantity(f"correlation_{a}_{b}", f"cor({a}, {b})", _correlation(a, b)) for a, b in pairs),
        ]
        columns: dict[str, Quantity] = {}
        known = []
        for item in found:
            # sigma of a parameter "s" is not sigma_s, and "a_b" with "c" not "a" with "b_c".
            name = item.name if item.name not in columns else another(item.title, item.name, columns)
            columns[name] = replace(item, name=name)
            if (item.ratio_of and self.bases) or any(item.read(result) is not None for result in self.results):
                known.append(columns[name])
        return tuple(known)

    def _is_main(self, one: str, other: str) -> bool:
        """Whether the correlation of two parameters is in the main table."""
        return one == POI and other in self.pois

    @cached_property
    def main(self) -> tuple[Quantity, ...]:
        """Columns of the main table, those with published numbers first."""
        published = {name for row in self.rows if row.source for name in row.values}
        published |= {"bound_s"} if "sigma_s" in published else set()  # the bound on it
        main = {item.name for item in self._main}
        found = [item for item in self.quantities if item.name in main]
        return tuple(sorted(found, key=lambda item: item.name not in published))

    @cached_property
    def metrics(self) -> tuple[Quantity, ...]:
        """Columns of the table of metrics of the templates."""
        names = {item.name for item in self._metrics} - {item.name for item in self._main}
        return tuple(item for item in self.quantities if item.name in names)

    @cached_property
    def others(self) -> tuple[Quantity, ...]:
        """Columns of the table of nuisance parameters."""
        before = {item.name for item in (*self._main, *self._metrics)}
        return tuple(item for item in self.quantities if item.name not in before)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The points, each place of the sweep followed by what was published for it; then the other published."""
        at_place: dict[str, list[Row]] = {point.place: [] for point in self.points}
        for point in self.points:
            at_place[point.place].append(self._measured(point))
        others: list[Row] = []
        for row in self.reference.rows:
            if not self.unlike(row):
                published = self._published(row)
                at_place.get(published.place, others).append(published)
        return (*itertools.chain.from_iterable(at_place.values()), *others)

    def _spreads(self, point: Point) -> dict[str, Spread]:
        """Return every number that the runs of a point say, over its repeats."""
        values = {}
        for item in self.quantities:
            numbers = [number for number in map(item.read, point.results) if number is not None]
            if numbers:
                middle = statistics.median(numbers)
                values[item.name] = Spread(middle, min(numbers), max(numbers), len(numbers))
        return values

    def _measured(self, point: Point) -> Row:
        values, base = self._spreads(point), self.base_of(point)
        of_base = {} if base is None else self._spreads(base)
        for item in self.quantities:
            if item.ratio_of in values and item.ratio_of in of_base:
                own, unit = values[item.ratio_of], of_base[item.ratio_of].median
                values[item.name] = Spread(own.median / unit, own.low / unit, own.high / unit, own.repeats)
        for item in self.quantities:
            # That of the median: p-values of repeats differ by powers of ten, and a median of two is their mean.
            if item.name in values and item.p_value_of is not None and item.p_value_of in values:
                z = values[item.p_value_of]
                values[item.name] = Spread(_p_value(z.median), _p_value(z.high), _p_value(z.low), z.repeats)
        return Row(point.at, "", len(point.jobs), len(point.missing), values)

    def unlike(self, row: ReferenceRow) -> tuple[str, ...]:
        """Return the settings of a published row that are no column, and that no run has."""
        finished = [job.settings for point in self.points for job in point.jobs]
        common = next((settings for settings in finished if settings.get(MODEL) == row.model), finished[0])
        fixed = [key for key in row.at if key not in self.keys]
        return tuple(key for key in fixed if place({key: row.at[key]}) != place({key: common.get(key)}))

    def _published(self, row: ReferenceRow) -> Row:
        at = {key: row.model if key == MODEL else row.at.get(key) for key in self.keys}
        names = {item.name: item.name for item in self.quantities}
        for a, b in itertools.combinations((POI, *self.nuisances), 2):  # a correlation has two names
            if f"correlation_{a}_{b}" in names:
                names.setdefault(f"correlation_{b}_{a}", f"correlation_{a}_{b}")
        values = {}
        for name, (value, low, high) in row.ranges.items():
            values[names.get(name, name)] = Spread(value, low, high, 0)
        source = row.source or self.reference.source or self.reference.name
        return Row(at, row.label or "published", 0, 0, values, source)

    def representative(self, point: Point) -> Results | None:
        """Return the repeat with the median width (the lower of two), to draw what has no median."""
        known = [(width, i) for i, result in enumerate(point.results) if (width := _width(result)) is not None]
        if not known:
            return point.results[0] if point.results else None
        return point.results[sorted(known)[(len(known) - 1) // 2][1]]


def _p_value(z: float) -> float:
    return math.erfc(z / math.sqrt(2)) / 2


def _metric(kind: str) -> Callable[[Results], float | None]:
    return lambda results: results.metric_values.get(kind)


def _bestfit(name: str) -> Callable[[Results], float | None]:
    return lambda results: results.parameters[name].bestfit if name in results.parameters else None


def _sigma(name: str) -> Callable[[Results], float | None]:
    def read(results: Results) -> float | None:
        entry = results.parameters.get(name)
        return None if entry is None or entry.hesse <= 0 else entry.error

    return read


def _correlation(one: str, two: str) -> Callable[[Results], float | None]:
    return lambda results: results.correlation.get(one, {}).get(two)
