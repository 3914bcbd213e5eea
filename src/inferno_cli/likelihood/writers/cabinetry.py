"""A likelihood as a configuration of cabinetry's, with its histograms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from inferno_cli.errors import WorkspaceError
from inferno_cli.likelihood import modifiers as mod
from inferno_cli.likelihood.modifiers import Array
from inferno_cli.likelihood.spec import Channel, Parameter, Sample, Spec
from inferno_cli.names import another, distinct_with_parts

DATA = "Data"
FILE, HISTOGRAMS = "cabinetry.yaml", "histograms"

Config = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Names:
    """Names that cabinetry can make files of, by those that the user gave; parameters have the user's.

    Attributes:
        samples: Of the samples.
        shapes: Of the entries of shapes, by channel and parameter: one for all channels in which it acts on the same
            samples.
    """

    samples: dict[str, str]
    shapes: dict[tuple[str, str], str]


def samples_of(spec: Spec) -> dict[str, dict[str, Sample]]:
    """Return every sample by channel, by its name, in the order of the channels."""
    found: dict[str, dict[str, Sample]] = {}
    for channel in spec.channels:
        for sample in channel.samples:
            found.setdefault(sample.name, {})[channel.name] = sample
    return found


def names(spec: Spec) -> Names:
    """Return names with which every histogram of cabinetry is a file of its own: REGION_SAMPLE_SYSTEMATIC_DIRECTION."""
    samples, shapes = samples_of(spec), _entries(spec)

    def files(name: str, text: str) -> Iterator[str]:
        for channel, sample in samples[name].items():
            varied = [f"{text}_{shapes[channel, modifier.name]}" for modifier in sample.having(mod.NormPlusShape)]
            for file in (text, *(f"{stem}_{side}" for stem in varied for side in ("Up", "Down"))):
                # cabinetry takes a file with this ending, where there is one, for the histogram after its smoothing.
                for ending in ("", "_modified"):
                    yield f"{channel}_{file}{ending}".replace(" ", "-")

    taken = [f"{channel.name}_{DATA}{ending}" for channel in spec.channels for ending in ("", "_modified")]
    return Names(distinct_with_parts(samples, _file_name, files, taken=(DATA, *taken)), shapes)


def _entries(spec: Spec) -> dict[tuple[str, str], str]:
    """Name the entries of shapes, by channel and parameter: ``Names.shapes``."""
    used = {modifier.name for _, sample in _everywhere(spec) for modifier in sample.having(mod.NormPlusShape)}
    ordered = [parameter.name for parameter in spec.parameters if parameter.name in used]
    short = distinct_with_parts(ordered, _file_name, lambda _, text: [text.replace(" ", "-")])
    shapes: dict[tuple[str, str], str] = {}
    for parameter in ordered:
        for number, channels in enumerate(_alike(_touched(spec, parameter))):
            text = short[parameter] if number == 0 else f"{short[parameter]}_{_file_name(channels[0])}"
            text = text if number == 0 or text not in shapes.values() else another(text, text, [*shapes.values()])
            shapes |= {(channel, parameter): text for channel in channels}
    return shapes


def _everywhere(spec: Spec) -> Iterator[tuple[Channel, Sample]]:
    for channel in spec.channels:
        yield from ((channel, sample) for sample in channel.samples)


def _touched(spec: Spec, parameter: str) -> dict[str, tuple[str, ...]]:
    """Return the samples whose shape a parameter changes, by channel."""
    found: dict[str, tuple[str, ...]] = {}
    for channel, sample in _everywhere(spec):
        if any(modifier.name == parameter for modifier in sample.having(mod.NormPlusShape)):
            found[channel.name] = (*found.get(channel.name, ()), sample.name)
    return found


def _alike(by_channel: Mapping[str, T]) -> list[list[str]]:
    """Return the channels of which the same is true, together."""
    groups: list[list[str]] = []
    for channel, value in by_channel.items():
        for group in groups:
            if by_channel[group[0]] == value:
                group.append(channel)
                break
        else:
            groups.append([channel])
    return groups


def _file_name(name: str) -> str:
    """Return a name that a file can have; cabinetry cuts off what follows a dot, and makes "-" of a blank."""
    return re.sub(r"""[\x00-\x1f./\\:*?"<>|]""", "_", name)


def factors_of(spec: Spec) -> list[Parameter]:
    """Return the parameters that are free factors on whole samples, the parameter of interest first."""
    return [parameter for parameter in spec.parameters if parameter.constraint is None and not parameter.per_bin]


def config(spec: Spec, known: Names, folder: Path) -> Config:
    """Describe a likelihood in cabinetry's words; its histograms are in ``folder``.

    Raises:
        WorkspaceError: If a factor acts on other samples in other channels, or a staterror on a sample in some of its
            channels alone: there is no word.
    """
    factors: list[Config] = []
    for parameter in factors_of(spec):
        scaled, regions = _scaled(spec, parameter.name)
        entry = {"Name": parameter.name, "Samples": [known.samples[name] for name in scaled]}
        bounds = list(parameter.bounds[0])
        factors.append({**entry, **_regions(spec, regions), "Nominal": parameter.init[0], "Bounds": bounds})
    samples: list[Config] = [{"Name": DATA, "Data": True}]
    for name, by_channel in samples_of(spec).items():
        has = {channel: bool(sample.having(mod.StatError)) for channel, sample in by_channel.items()}
        if len(set(has.values())) > 1:
            raise _unsayable(f"staterror is on {name!r}", [channel for channel, found in has.items() if found])
        named = {"Name": known.samples[name], "DisableStaterror": not all(has.values())}
        samples.append(named | _regions(spec, by_channel))
    return {
        "General": {
            "Measurement": spec.measurement,
            "POI": spec.poi,
            "InputPath": "unused: the histograms are written already",
            "HistogramFolder": str(folder),
        },
        "Regions": [{"Name": channel.name} for channel in spec.channels],
        "Samples": samples,
        "NormFactors": factors,
        "Systematics": [*_yields(spec, known), *_shapes(spec, known)],
    }


def _scaled(spec: Spec, parameter: str) -> tuple[list[str], list[str]]:
    """Return the samples that a factor scales, and the channels in which it does: every one that has such a sample."""
    factor = mod.NormFactor(parameter)
    found: dict[str, list[str]] = {}
    for name, by_channel in samples_of(spec).items():
        for channel, sample in by_channel.items():
            if factor in sample.modifiers:
                found.setdefault(channel, []).append(name)
    samples = list(dict.fromkeys(name for names in found.values() for name in names))
    for name in samples:
        for channel in samples_of(spec)[name]:
            if channel in found and name not in found[channel]:
                raise _unsayable(f"the factor {parameter!r} is on {name!r}", [x for x, y in found.items() if name in y])
    is_everywhere = all(channel in found for name in samples for channel in samples_of(spec)[name])
    return samples, [channel.name for channel in spec.channels] if is_everywhere else list(found)


def _unsayable(what: str, channels: Sequence[str]) -> WorkspaceError:
    return WorkspaceError(
        f"{what} in {', '.join(channels)} and not in its other channels, which cabinetry cannot say; set export=false"
    )


def _regions(spec: Spec, channels: Mapping[str, Any] | Sequence[str]) -> Config:
    """Return the key with the regions of an entry that is not of all."""
    return {} if len(channels) == len(spec.channels) else {"Regions": list(channels)}


def _yields(spec: Spec, known: Names) -> Iterator[Config]:
    """Yield an entry for each parameter and sample whose yield it changes; free shapes go with their samples."""
    used = [*dict.fromkeys(known.shapes.values())]
    for parameter in spec.parameters:
        for name, by_channel in samples_of(spec).items():
            changes: dict[str, mod.NormSys] = {}
            for channel, sample in by_channel.items():
                change = next((item for item in sample.having(mod.NormSys) if item.name == parameter.name), None)
                if change is not None and sample.parent is None:
                    changes[channel] = change
            for number, channels in enumerate(_alike({name: (item.up, item.down) for name, item in changes.items()})):
                # cabinetry wants a name for each entry; "a" on "b_c" and "a_b" on "c" would have the same.
                text = f"{parameter.name}_{name}" if number == 0 else f"{parameter.name}_{name}_{channels[0]}"
                text = text if text not in used else another(f"{parameter.name}\0{name}", text, used)
                used.append(text)
                change = changes[channels[0]]
                everywhere = len(channels) == len(by_channel)
                yield {
                    "Name": text,
                    "ModifierName": parameter.name,
                    "Type": "Normalization",
                    **({} if everywhere else {"Regions": channels}),
                    "Samples": [known.samples[other] for other in _family(spec, name, channels)],
                    "Up": {"Normalization": change.up - 1},
                    "Down": {"Normalization": change.down - 1},
                }


def _family(spec: Spec, sample: str, channels: Sequence[str]) -> list[str]:
    """Return a sample with its free shapes."""
    found: dict[str, None] = {}
    for channel, other in _everywhere(spec):
        if channel.name in channels and sample in (other.name, other.parent):
            found[other.name] = None
    return list(found)


def _shapes(spec: Spec, known: Names) -> Iterator[Config]:
    """Yield an entry for each shape, and one more for channels in which it acts on other samples."""
    for parameter in dict.fromkeys(parameter for _, parameter in known.shapes):
        touched = _touched(spec, parameter)
        for channels in _alike(touched):
            text = known.shapes[channels[0], parameter]
            renamed = {} if text == parameter else {"ModifierName": parameter}
            named = [known.samples[name] for name in touched[channels[0]]]
            entry = {"Name": text, **renamed, "Type": "NormPlusShape", **_regions(spec, channels), "Samples": named}
            yield {**entry, "Up": {}, "Down": {}}


def write(spec: Spec, folder: Path) -> Path:
    """Write the configuration and its histograms into a folder; return the file of the configuration."""
    import yaml

    known, path = names(spec), folder / FILE
    text = yaml.safe_dump(config(spec, known, folder / HISTOGRAMS), sort_keys=False)
    for channel in spec.channels:
        _write_histograms(channel, known, folder / HISTOGRAMS)
    # What is not called as in the workspace is said in the head.
    head = ""
    for name, other in known.samples.items():
        head += f"# sample {other} is {name!r} in workspace.json\n" if other != name else ""
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
            entry = known.shapes[channel.name, shape.name]
            save(text, shape.up, up, entry, "Up")
            save(text, shape.down, down, entry, "Down")
