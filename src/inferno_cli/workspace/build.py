"""Templates to a cabinetry configuration and a pyhf workspace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inferno_cli.config import POI, REGION, Measurement
from inferno_cli.errors import TemplateError, WorkspaceError
from inferno_cli.events import NOMINAL, Variation
from inferno_cli.histograms import Templates
from inferno_cli.names import another, distinct_with_parts

DATA = "Data"
MORPH_BOUNDS = (-10.0, 10.0)
CONSTRAINED_BOUNDS = (-10.0, 10.0)


@dataclass(frozen=True)
class Workspace:
    """A workspace on disk.

    Attributes:
        spec: The pyhf workspace.
        path: Its JSON file.
        config: File of the cabinetry configuration that built it.
        observed: Whether the observation is the observed events; else the Asimov data.
        samples: Names of the samples in ``spec``, by those in the cabinetry configuration.
    """

    spec: dict[str, Any]
    path: Path
    config: Path
    observed: bool
    samples: Mapping[str, str]


@dataclass(frozen=True)
class Names:
    """Names that cabinetry can make files of, by those that the user gave.

    Attributes:
        samples: Of the samples, free shapes (``morph_name``) included.
        shapes: Of the constrained shapes.
    """

    samples: Mapping[str, str]
    shapes: Mapping[str, str]


def morph_name(sample: str, systematic: str) -> str:
    """Name of the sample that holds (up - down) / 2 of an unconstrained shape."""
    return f"{sample}@{systematic}"


def _file_name(name: str) -> str:
    """Return a name that a file can have; cabinetry cuts off what follows a dot, and makes "-" of a blank."""
    return re.sub(r"""[\x00-\x1f./\\:*?"<>|]""", "_", name)


def cabinetry_names(templates: Templates, measurement: Measurement) -> Names:
    """Return names with which every histogram of cabinetry is a file of its own: REGION_SAMPLE_SYSTEMATIC_DIRECTION."""
    shapes = [name for name in measurement.shapes if name not in measurement.unconstrained]
    short = distinct_with_parts(shapes, _file_name, lambda _, text: [text.replace(" ", "-")])
    acts_on: dict[str, list[str]] = {sample: [] for sample in measurement.samples}
    for name, sample in templates.varied:
        if name in measurement.unconstrained:
            acts_on[morph_name(sample, name)] = []
        elif name in measurement.shapes:
            acts_on[sample].append(short[name])

    def files(sample: str, text: str) -> Iterator[str]:
        for name in (text, *(f"{text}_{shape}_{side}" for shape in acts_on[sample] for side in ("Up", "Down"))):
            yield name.replace(" ", "-")
            # cabinetry takes a file with this ending, where there is one, for the histogram after its smoothing.
            yield f"{name}_modified".replace(" ", "-")

    return Names(distinct_with_parts(acts_on, _file_name, files, taken=(DATA, f"{DATA}_modified")), short)


def cabinetry_config(
    templates: Templates,
    measurement: Measurement,
    bounds: Mapping[str, tuple[float, float]],
    folder: Path,
    names: Names,
) -> dict[str, Any]:
    """Describe the measurement in cabinetry's words.

    Args:
        templates: Final templates.
        measurement: Samples and parameters.
        bounds: Of every parameter without a constraint, the POI included.
        folder: Where the histograms are.
        names: Of samples and shapes in this configuration; parameters have the user's.
    """
    morphs = [(name, sample) for name, sample in templates.varied if name in measurement.unconstrained]
    children = {
        sample: [names.samples[morph_name(sample, name)] for name, parent in morphs if parent == sample]
        for sample in measurement.samples
    }

    def with_morphs(samples: tuple[str, ...]) -> list[str]:
        return [name for sample in samples for name in (names.samples[sample], *children[sample])]

    def factor(name: str, samples: list[str], nominal: float) -> dict[str, Any]:
        return {"Name": name, "Samples": samples, "Nominal": nominal, "Bounds": list(bounds[name])}

    scaled = {POI: measurement.signal, **measurement.free}
    factors = [factor(name, with_morphs(samples), 1.0) for name, samples in scaled.items()]
    for name in measurement.unconstrained:
        moved = [names.samples[morph_name(sample, name)] for systematic, sample in morphs if systematic == name]
        factors.append(factor(name, moved, 0.0))
    systematics: list[dict[str, Any]] = []
    used = [*names.shapes.values()]
    for name, by_sample in measurement.normalisation.items():
        for sample, (up, down) in by_sample.items():
            # cabinetry wants a name for each entry; "a" on "b_c" and "a_b" on "c" would have the same.
            text = f"{name}_{sample}"
            text = text if text not in used else another(f"{name}\0{sample}", text, used)
            used.append(text)
            systematics.append(
                {
                    "Name": text,
                    "ModifierName": name,
                    "Type": "Normalization",
                    "Samples": with_morphs((sample,)),
                    "Up": {"Normalization": up - 1},
                    "Down": {"Normalization": down - 1},
                }
            )
    for name, text in names.shapes.items():
        touched = [names.samples[sample] for systematic, sample in templates.varied if systematic == name]
        systematics.append(
            {
                "Name": text,
                **({} if text == name else {"ModifierName": name}),
                "Type": "NormPlusShape",
                "Samples": touched,
                "Up": {},
                "Down": {},
            }
        )
    rows: list[dict[str, Any]] = [{"Name": DATA, "Data": True}]
    for sample in measurement.samples:
        rows.append({"Name": names.samples[sample], "DisableStaterror": not measurement.staterror})
        rows += [{"Name": name, "DisableStaterror": True} for name in children[sample]]
    return {
        "General": {
            "Measurement": "inferno",
            "POI": POI,
            "InputPath": "unused: the histograms are written already",
            "HistogramFolder": str(folder),
        },
        "Regions": [{"Name": REGION}],
        "Samples": rows,
        "NormFactors": factors,
        "Systematics": systematics,
    }


def _save_histograms(
    templates: Templates, measurement: Measurement, observation: np.ndarray[Any, Any], folder: Path, names: Names
) -> None:
    from cabinetry import histo

    edges = np.arange(templates.n_bins + 1)
    region = {"Name": REGION}

    def save(sample: str, values: Any, deviations: Any, systematic: str = "", direction: str = "") -> None:
        name = histo.name(
            region, {"Name": sample}, {"Name": systematic} if systematic else {}, template=direction or None
        )
        histo.Histogram.from_arrays(edges, values, deviations).save(folder / name)

    folder.mkdir(parents=True, exist_ok=True)
    save(DATA, observation, np.sqrt(observation))
    for (sample, variation), histogram in templates.histograms.items():
        values, deviations = histogram.values(), np.sqrt(histogram.variances())
        name, shape = names.samples[sample], names.shapes.get(variation.systematic)
        if variation == NOMINAL:
            save(name, values, deviations)
        elif shape is not None:
            save(name, values, deviations, shape, variation.direction.capitalize())
        elif variation.systematic in measurement.unconstrained and variation.direction == "up":
            down = templates.values(sample, Variation(variation.systematic, "down"))
            morph = names.samples[morph_name(sample, variation.systematic)]
            save(morph, (values - down) / 2, np.zeros_like(values))


def build(
    templates: Templates,
    measurement: Measurement,
    *,
    poi_bounds: tuple[float, float],
    observed: bool,
    folder: Path,
) -> Workspace:
    """Write the workspace of a run: histograms, cabinetry configuration and pyhf JSON.

    The observation is what the run fits: a run on Asimov data leaves no observed data in its workspace.

    Args:
        templates: Final templates.
        measurement: Samples and parameters.
        poi_bounds: Bounds of the parameter of interest.
        observed: Take the observed events; else the Asimov data.
        folder: Where the files go.

    Raises:
        TemplateError: If a template cannot be fitted, or one bin is left for a shape.
        WorkspaceError: If the result is not a valid pyhf workspace.
    """
    import cabinetry
    import yaml

    templates.require_positive()
    shapes = [name for name in measurement.shapes if any(name == key for key, _ in templates.varied)]
    if templates.n_bins == 1 and shapes:
        raise TemplateError(
            f"one bin is left after merging, and a shape nuisance parameter ({', '.join(shapes)}) needs at least two. "
            "Lower binning.min_effective_events or binning.min_yield, raise model.bins, or train longer"
        )
    if observed and templates.observed is None:
        raise TemplateError("fit.data is 'observed', but the dataset has no observed events")
    observation = templates.observed.values() if observed and templates.observed else templates.nominal.sum(axis=0)
    histograms, names = folder / "histograms", cabinetry_names(templates, measurement)
    _save_histograms(templates, measurement, observation, histograms, names)
    bounds = {POI: poi_bounds, **measurement.bounds, **dict.fromkeys(measurement.unconstrained, MORPH_BOUNDS)}
    config = cabinetry_config(templates, measurement, bounds, histograms, names)
    config_path = folder / "cabinetry.yaml"
    config_path.write_text(_renamed(names) + yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    try:
        spec: dict[str, Any] = cabinetry.workspace.build(config)
    except Exception as error:  # cabinetry and pyhf each have their own tree of errors
        raise WorkspaceError(f"the templates do not make a valid workspace: {error}") from error
    samples = {text: name for name, text in names.samples.items()}
    for sample in spec["channels"][0]["samples"]:
        sample["name"] = samples[sample["name"]]
    # pyhf's own bounds, 5 sigma, make MINUIT's HESSE of a barely constrained parameter 0.6% too small.
    constrained = [
        name for name in (*measurement.normalisation, *measurement.shapes) if name not in measurement.unconstrained
    ]
    spec["measurements"][0]["config"]["parameters"] += [
        {"name": name, "bounds": [list(CONSTRAINED_BOUNDS)]} for name in constrained
    ]
    path = folder / "workspace.json"
    path.write_text(json.dumps(spec, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return Workspace(spec, path, config_path, observed, samples)


def _renamed(names: Names) -> str:
    """Say in the head of the configuration which sample is which, where that is not its name."""
    changed = {text: name for name, text in names.samples.items() if text != name}
    return "".join(f"# sample {text} is {name!r} in workspace.json\n" for text, name in changed.items())
