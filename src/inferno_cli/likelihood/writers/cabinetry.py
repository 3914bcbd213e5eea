"""A likelihood as a configuration of cabinetry's, with its histograms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inferno_cli.errors import WorkspaceError
from inferno_cli.likelihood import modifiers as mod
from inferno_cli.likelihood.modifiers import Array
from inferno_cli.likelihood.spec import Channel, Parameter, Spec
from inferno_cli.names import another, distinct_with_parts

DATA = "Data"
FILE, HISTOGRAMS = "cabinetry.yaml", "histograms"

Config = dict[str, Any]


@dataclass(frozen=True)
class Names:
    """Names that cabinetry can make files of, by those that the user gave; parameters have the user's.

    Attributes:
        samples: Of the samples.
        shapes: Of the parameters of shapes.
    """

    samples: dict[str, str]
    shapes: dict[str, str]


def only_channel(spec: Spec) -> Channel:
    """Return the channel of a likelihood that has one.

    Raises:
        WorkspaceError: If there are more.
    """
    if len(spec.channels) != 1:
        said = ", ".join(channel.name for channel in spec.channels)
        raise WorkspaceError(f"a likelihood of one channel can be exported, this one has {said}; set export=false")
    return spec.channels[0]


def names(spec: Spec) -> Names:
    """Return names with which every histogram of cabinetry is a file of its own: REGION_SAMPLE_SYSTEMATIC_DIRECTION."""
    channel = only_channel(spec)
    by_name = {sample.name: sample for sample in channel.samples}
    used = {modifier.name for sample in channel.samples for modifier in sample.having(mod.NormPlusShape)}
    ordered = [parameter.name for parameter in spec.parameters if parameter.name in used]
    short = distinct_with_parts(ordered, _file_name, lambda _, text: [text.replace(" ", "-")])

    def files(name: str, text: str) -> Iterator[str]:
        varied = [f"{text}_{short[modifier.name]}" for modifier in by_name[name].having(mod.NormPlusShape)]
        for file in (text, *(f"{stem}_{side}" for stem in varied for side in ("Up", "Down"))):
            yield file.replace(" ", "-")
            # cabinetry takes a file with this ending, where there is one, for the histogram after its smoothing.
            yield f"{file}_modified".replace(" ", "-")

    return Names(distinct_with_parts(by_name, _file_name, files, taken=(DATA, f"{DATA}_modified")), short)


def _file_name(name: str) -> str:
    """Return a name that a file can have; cabinetry cuts off what follows a dot, and makes "-" of a blank."""
    return re.sub(r"""[\x00-\x1f./\\:*?"<>|]""", "_", name)


def factors_of(spec: Spec) -> list[Parameter]:
    """Return the parameters that are free factors on whole samples, the parameter of interest first."""
    return [parameter for parameter in spec.parameters if parameter.constraint is None and not parameter.per_bin]


def config(spec: Spec, known: Names, folder: Path) -> Config:
    """Describe a likelihood in cabinetry's words; its histograms are in ``folder``."""
    channel = only_channel(spec)
    factors: list[Config] = []
    for parameter in factors_of(spec):
        scaled: list[str] = []
        for sample in channel.samples:
            if mod.NormFactor(parameter.name) in sample.modifiers:
                scaled.append(known.samples[sample.name])
        bounds = list(parameter.bounds[0])
        factors.append({"Name": parameter.name, "Samples": scaled, "Nominal": parameter.init[0], "Bounds": bounds})
    samples: list[Config] = [{"Name": DATA, "Data": True}]
    for sample in channel.samples:
        samples.append({"Name": known.samples[sample.name], "DisableStaterror": not sample.having(mod.StatError)})
    return {
        "General": {
            "Measurement": spec.measurement,
            "POI": spec.poi,
            "InputPath": "unused: the histograms are written already",
            "HistogramFolder": str(folder),
        },
        "Regions": [{"Name": channel.name}],
        "Samples": samples,
        "NormFactors": factors,
        "Systematics": [*_yields(spec, channel, known), *_shapes(channel, known)],
    }


def _yields(spec: Spec, channel: Channel, known: Names) -> Iterator[Config]:
    """Yield an entry for each parameter and sample whose yield it changes; free shapes go with their samples."""
    used = [*known.shapes.values()]
    for parameter in spec.parameters:
        for sample in channel.samples:
            change = next((item for item in sample.having(mod.NormSys) if item.name == parameter.name), None)
            if change is None or sample.parent is not None:
                continue
            # cabinetry wants a name for each entry; "a" on "b_c" and "a_b" on "c" would have the same.
            text = f"{parameter.name}_{sample.name}"
            text = text if text not in used else another(f"{parameter.name}\0{sample.name}", text, used)
            used.append(text)
            family = [other.name for other in channel.samples if sample.name in (other.name, other.parent)]
            yield {
                "Name": text,
                "ModifierName": parameter.name,
                "Type": "Normalization",
                "Samples": [known.samples[name] for name in family],
                "Up": {"Normalization": change.up - 1},
                "Down": {"Normalization": change.down - 1},
            }


def _shapes(channel: Channel, known: Names) -> Iterator[Config]:
    """Yield an entry for each shape."""
    for name, text in known.shapes.items():
        touched: list[str] = []
        for sample in channel.samples:
            touched += [
                known.samples[sample.name] for modifier in sample.having(mod.NormPlusShape) if modifier.name == name
            ]
        renamed = {} if text == name else {"ModifierName": name}
        yield {"Name": text, **renamed, "Type": "NormPlusShape", "Samples": touched, "Up": {}, "Down": {}}


def write(spec: Spec, folder: Path) -> Path:
    """Write the configuration and its histograms into a folder; return the file of the configuration."""
    import yaml

    known, path = names(spec), folder / FILE
    _write_histograms(only_channel(spec), known, folder / HISTOGRAMS)
    # What is not called as in the workspace is said in the head.
    head = ""
    for name, text in known.samples.items():
        head += f"# sample {text} is {name!r} in workspace.json\n" if text != name else ""
    text = yaml.safe_dump(config(spec, known, folder / HISTOGRAMS), sort_keys=False)
    path.write_text(head + text, encoding="utf-8")
    return path


def _write_histograms(channel: Channel, known: Names, folder: Path) -> None:
    from cabinetry import histo

    edges, region = np.arange(channel.n_bins + 1), {"Name": channel.name}

    def save(sample: str, values: Array, variance: Array, systematic: str = "", side: str | None = None) -> None:
        name = histo.name(region, {"Name": sample}, {"Name": systematic} if systematic else {}, template=side)
        errors = np.zeros_like(values) if variance is None else np.sqrt(variance)
        histo.Histogram.from_arrays(edges, values, errors).save(folder / name)

    folder.mkdir(parents=True, exist_ok=True)
    save(DATA, channel.observed, channel.observed)
    for sample in channel.samples:
        text = known.samples[sample.name]
        save(text, sample.nominal, sample.variance)
        for shape in sample.having(mod.NormPlusShape):
            up, down = shape.variance or (None, None)
            save(text, shape.up, up, known.shapes[shape.name], "Up")
            save(text, shape.down, down, known.shapes[shape.name], "Down")
