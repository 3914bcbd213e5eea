"""A likelihood as ROOT histograms with a Combine datacard, and a cabinetry configuration that reads them.

In the datacard

- the POI is Combine's ``r``: processes that it scales have an id of 0 or below;
- a normsys is a ``lnN`` with both factors, kappa down / kappa up;
- a shape (normsys and histosys of one parameter) is a ``shape``. Combine splits it into yield and shape as we do, and
  its interpolation of the shape is HistFactory's code4p;
- a NormFactor is a ``rateParam``;
- a free shape, in HistFactory a NormFactor of nominal 0 on a sample that holds (up - down) / 2, is linear in its
  parameter and has negative bins, which Combine would set to 0. So its positive and its negative part become a process
  each, scaled by the parameter and by minus the parameter: exact at every value. ``shapeU``, Combine's own word, is
  something else: it stops at -1 and 1, and it changes the yield exponentially;
- staterror is ``autoMCStats`` with threshold 0, signal included: one Gaussian parameter per bin for the sum of all
  processes, as in HistFactory. A higher threshold would give thin bins a Poisson parameter per process instead.

Yields are the same at the nominal parameters, at -1 and +1 (several at once, too), and beyond; what differs is said in
the head of the datacard.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inferno_cli.errors import WorkspaceError
from inferno_cli.likelihood import modifiers as mod
from inferno_cli.likelihood.modifiers import Array
from inferno_cli.likelihood.spec import Channel, Parameter, Sample, Spec
from inferno_cli.likelihood.writers import cabinetry
from inferno_cli.names import another, distinct, distinct_with_parts, printable

log = logging.getLogger(__name__)

Histograms = dict[str, tuple[Array, Array]]
"""Values and errors by name."""

SHAPES, DATACARD = "shapes.root", "datacard.txt"
DATA = "data_obs"
# What text2workspace.py puts into the same RooFit workspace under a fixed name, and how its parameters of
# autoMCStats begin.
TAKEN = frozenset({"r", "MH", "ONE", "ZERO", "CMS_channel", "CMS_th1x", "nuisancePdf", "model_s", "model_b", "w", DATA})
MC_STATISTICS = "prop_bin"
SIDES = (("plus", 1), ("minus", -1))
"""Parts of a free shape, and the sign of the factor of each."""

HEAD = """\
# Made by inferno_cli{label}. From this folder:
#   text2workspace.py datacard.txt
#   combine -M FitDiagnostics datacard.root --rMin {low:g} --rMax {high:g}
# data_obs: {data}
# r is {poi}. Yields are those of workspace.json at 0, -1 and +1 of every parameter; known differences:
# - between -1 and +1 Combine interpolates a lnN, and the yield of a shape, with another smooth curve
# - Combine leaves out the change of the yield of a shape when it is below 0.1% both up and down
# - a Barlow-Beeston parameter is relative to the error of the scaled processes, in HistFactory to the nominal one
# - Combine keeps a shape parameter within 4 and a lnN parameter within 7 standard deviations
"""


@dataclass(frozen=True)
class Names:
    """Names that RooFit takes.

    Attributes:
        channels: Of the channels, by name.
        parameters: Of the parameters but the POI, by name.
        scales: Of what scales the positive and the negative part of a free shape, by parameter and sign.
        processes: Of the samples, by name.
    """

    channels: Mapping[str, str]
    parameters: Mapping[str, str]
    scales: Mapping[tuple[str, int], str]
    processes: Mapping[str, str]

    def renamed(self) -> Iterator[str]:
        """Yield what is not called as in the workspace."""
        named = (("channel", self.channels), ("process", self.processes), ("parameter", self.parameters))
        for what, texts in named:
            for name, text in texts.items():
                if name != text:
                    yield f"# {what} {text} is {name!r} in workspace.json\n"


@dataclass(frozen=True)
class Process:
    """A column of the datacard.

    Attributes:
        channel: Its channel, as in the likelihood.
        name: As Combine knows it.
        sample: The sample that it is, or is a part of.
        signal: Whether the POI scales it.
        sign: Of its factor, for a part of a free shape; 0 for a process proper.
    """

    channel: str
    name: str
    sample: Sample
    signal: bool
    sign: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all others."""
        return self.channel, self.name


Change = mod.NormSys | mod.NormPlusShape
Effects = dict[str, dict[tuple[str, str], Change]]
"""What changes each process, by parameter, and channel and process."""


def write(spec: Spec, folder: Path, *, data: str, label: str = "") -> tuple[Path, ...]:
    """Write ROOT histograms, a Combine datacard, and a cabinetry configuration that reads the histograms.

    Args:
        spec: A likelihood.
        folder: Where the files go.
        data: Says what is in ``data_obs``.
        label: What must be said of the data.

    Raises:
        WorkspaceError: If a datacard cannot say what the likelihood is.
    """
    import hist
    import uproot
    import yaml

    names = _names(spec)
    processes: list[Process] = []
    by_channel: dict[str, Histograms] = {}
    for channel in spec.channels:
        by_channel[channel.name] = histograms = {DATA: (channel.observed, np.sqrt(channel.observed))}
        for sample in channel.samples:
            processes += _processes(spec, channel, sample, names, histograms)
    effects = _effects(spec, processes)
    for channel_name, histograms in by_channel.items():
        own = [process for process in processes if process.channel == channel_name]
        histograms |= dict(_variations(effects, own, names, histograms))
    (bounds,) = (parameter.bounds[0] for parameter in spec.parameters if parameter.name == spec.poi)
    said = f": {printable(label)}" if label else ""
    head = HEAD.format(low=bounds[0], high=bounds[1], poi=spec.poi, data=data, label=said) + "".join(names.renamed())
    if negative := _negative(names, processes, by_channel):
        text = f"Combine sets bins below 0 to 0, here in {', '.join(negative)}"
        log.warning(f"export: {text}")
        head += f"# - {text}\n"
    card = head + _datacard(spec, names, processes, effects)
    config = yaml.safe_dump(_cabinetry_config(spec, names), sort_keys=False)
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / name for name in (SHAPES, DATACARD, cabinetry.FILE))
    with uproot.recreate(paths[0]) as file:
        for channel_name, histograms in by_channel.items():
            for name, (values, errors) in histograms.items():
                histogram = hist.Hist(hist.axis.Variable(np.arange(len(values) + 1)), storage=hist.storage.Weight())
                histogram[...] = np.stack([values, errors**2], axis=-1)
                file[f"{names.channels[channel_name]}/{name}"] = histogram
    paths[1].write_text(card, encoding="utf-8")
    paths[2].write_text(config, encoding="utf-8")
    return paths


# ------------------------------------------------------------------------------------------------------- names
def datacard_name(name: str, prefix: str) -> str:
    """Return a name that RooFit takes: letters, digits and ``_``.

    A name that begins with a digit, or that Combine gives to something else (a nuisance parameter ``r``), gets the
    prefix, as Combine itself puts "theta" in front of a digit.
    """
    safe = re.sub(r"\W", "_", name, flags=re.ASCII)
    if safe in TAKEN or safe.startswith(MC_STATISTICS) or not safe[:1].isalpha():
        safe = f"{prefix}_{safe}"
    return safe


def _names(spec: Spec) -> Names:
    """Name channels, parameters, the scales of free shapes, and then processes: none meets another."""
    channels = distinct([channel.name for channel in spec.channels], lambda name: datacard_name(name, "bin"))
    regions, by_name = tuple(channels.values()), cabinetry.samples_of(spec)
    processes = [datacard_name(name, "proc") for name in by_name]
    # RooFit holds a constraint ``X_Pdf`` of each parameter with its centre ``X_In``.
    parameters = distinct_with_parts(
        [name for name in _constrained_last(spec) if name != spec.poi],
        lambda name: datacard_name(name, "theta"),
        lambda _, text: (text, f"{text}_In", f"{text}_Pdf"),
        taken=(*regions, *processes),
    )
    scales = _scales(spec, parameters)

    def files(name: str, text: str) -> Iterator[str]:
        """Yield the histograms of a process, PROCESS_SYSTEMATICUp among them."""
        samples = by_name[name].values()
        sides = [side for side, _ in SIDES] if any(sample.parent is not None for sample in samples) else []
        varied = dict.fromkeys(modifier.name for sample in samples for modifier in _changes(sample))
        for process in (text, *(f"{text}_{side}" for side in sides)):
            yield process
            for parameter in varied:
                yield from (f"{process}_{parameters[parameter]}{side}" for side in ("Up", "Down"))

    taken = (DATA, *regions, *parameters.values(), *scales.values())
    known = distinct_with_parts(by_name, lambda name: datacard_name(name, "proc"), files, taken=taken)
    return Names(channels, parameters, scales, known)


def _scales(spec: Spec, parameters: Mapping[str, str]) -> dict[tuple[str, int], str]:
    """Name what scales the two parts of each free shape."""
    scales: dict[tuple[str, int], str] = {}
    for parameter in _linear(spec):
        for side, sign in SIDES:
            text = f"{parameters[parameter.name]}_{side}"
            used = (*parameters.values(), *scales.values())
            scales[parameter.name, sign] = text if text not in used else another(text, text, used)
    return scales


def _constrained_last(spec: Spec) -> list[str]:
    scalars = [parameter for parameter in spec.parameters if not parameter.per_bin]
    return [parameter.name for parameter in sorted(scalars, key=lambda parameter: parameter.constraint is not None)]


def _linear(spec: Spec) -> list[Parameter]:
    """Return the parameters of free shapes."""
    return [parameter for parameter in cabinetry.factors_of(spec) if parameter.init[0] == 0]


# ------------------------------------------------------------------------------------- processes and histograms
def _has_staterror(samples: Sequence[Sample]) -> bool:
    return any(sample.having(mod.StatError) for sample in samples)


def _processes(spec: Spec, channel: Channel, sample: Sample, names: Names, histograms: Histograms) -> Iterator[Process]:
    """Yield the columns of a sample: itself, or for a free shape its positive and its negative part."""
    name, signal = names.processes[sample.name], mod.NormFactor(spec.poi) in sample.modifiers
    errors = np.zeros(channel.n_bins) if sample.variance is None else np.sqrt(sample.variance)
    if _has_staterror(channel.samples) and not _has_staterror([sample]):
        errors = np.zeros(channel.n_bins)  # autoMCStats counts the errors of every process
    # Of a free shape Combine reads only the parts, cabinetry only the sum.
    histograms[name] = sample.nominal, errors
    if sample.parent is None:
        yield Process(channel.name, name, sample, signal)
        return
    for side, sign in SIDES:
        part = (sign * sample.nominal).clip(min=0)
        if part.any():  # Combine refuses an empty process
            histograms[f"{name}_{side}"] = part, np.zeros(channel.n_bins)
            yield Process(channel.name, f"{name}_{side}", sample, signal, sign)


def _effects(spec: Spec, processes: Sequence[Process]) -> Effects:
    """Return what each constrained parameter does: those of yields alone first."""
    effects: Effects = {}
    for parameter in spec.parameters:
        for process in processes:
            for modifier in _changes(process.sample):
                if modifier.name != parameter.name:
                    continue
                effect = effects.setdefault(parameter.name, {})
                if process.key in effect:
                    raise WorkspaceError(
                        f"{parameter.name!r} acts twice on {process.sample.name!r}, which a Combine datacard cannot "
                        "say; set export=false"
                    )
                effect[process.key] = modifier
    return effects


def _changes(sample: Sample) -> list[Change]:
    return [*sample.having(mod.NormSys), *sample.having(mod.NormPlusShape)]


def _is_shape(effect: Mapping[tuple[str, str], Change]) -> bool:
    return any(isinstance(modifier, mod.NormPlusShape) for modifier in effect.values())


def _variations(
    effects: Effects, processes: Sequence[Process], names: Names, nominal: Histograms
) -> Iterator[tuple[str, tuple[Array, Array]]]:
    """Yield the templates of the shapes of one channel, by name."""
    for parameter, effect in effects.items():
        if not _is_shape(effect):
            continue
        for process in processes:
            match effect.get(process.key):
                case mod.NormPlusShape(_, up, down, variance):
                    squares = variance or (np.zeros_like(up), np.zeros_like(down))
                    pair = [(up, np.sqrt(squares[0])), (down, np.sqrt(squares[1]))]
                case mod.NormSys(_, up, down):
                    # A parameter has one line: beside shapes, a change of the yield is a scaled template.
                    values, errors = nominal[process.name]
                    pair = [(values * factor, errors * factor) for factor in (up, down)]
                case None:
                    continue
            for side, histogram in zip(("Up", "Down"), pair, strict=True):
                yield f"{process.name}_{names.parameters[parameter]}{side}", histogram


def _negative(names: Names, processes: Sequence[Process], by_channel: Mapping[str, Histograms]) -> list[str]:
    """Return the histograms with a bin below 0 that Combine reads."""
    unread = {names.processes[process.sample.name] for process in processes if process.sign}
    found: list[str] = []
    for channel, histograms in by_channel.items():
        for name, (values, _) in histograms.items():
            if (values < 0).any() and name not in unread:
                found.append(f"{names.channels[channel]}/{name}")
    return found


# ---------------------------------------------------------------------------------------------------- datacard
def _datacard(spec: Spec, names: Names, processes: Sequence[Process], effects: Effects) -> str:
    channels = list(names.channels)
    ordered = sorted(processes, key=lambda process: (channels.index(process.channel), not process.signal))
    # A process has one id in all channels; the last signal has 0.
    named = dict.fromkeys(process.name for process in sorted(ordered, key=lambda process: not process.signal))
    signals = {process.name for process in ordered if process.signal}
    ids = {name: str(1 - len(signals) + i) for i, name in enumerate(named)}
    texts = [names.channels[process.channel] for process in ordered]
    mc_statistics: list[list[str]] = []
    for channel in spec.channels:
        threshold = "0" if _has_staterror(channel.samples) else "-1"
        mc_statistics.append([names.channels[channel.name], "autoMCStats", threshold, "1", "1"])
    n = len(ordered)
    blocks = [
        [
            ["imax", str(len(channels)), "number of channels"],
            ["jmax", str(len(named) - 1), "number of processes minus 1"],
            ["kmax", str(len(effects)), "number of constrained nuisance parameters"],
        ],
        [["shapes", "*", "*", SHAPES, "$CHANNEL/$PROCESS", "$CHANNEL/$PROCESS_$SYSTEMATIC"]],
        [["bin", *names.channels.values()], ["observation", *["-1"] * len(channels)]],
        [
            ["bin", "", *texts],
            ["process", "", *(process.name for process in ordered)],
            ["process", "", *(ids[process.name] for process in ordered)],
            ["rate", "", *["-1"] * n],
            *(_line(names.parameters[parameter], effect, ordered) for parameter, effect in effects.items()),
        ],
        list(_rate_parameters(spec, names, ordered)),
        list(_groups(spec, names, effects)),
        mc_statistics,
    ]
    rule = "-" * 100 + "\n"
    return rule.join(_table(block) for block in blocks if block)


def _line(name: str, effect: Mapping[tuple[str, str], Change], processes: Sequence[Process]) -> list[str]:
    is_shape = _is_shape(effect)
    cells: list[str] = []
    for process in processes:
        change = effect.get(process.key)
        if change is None:
            cells.append("-")
        else:
            cells.append("1" if is_shape else f"{_number(change.down)}/{_number(change.up)}")
    return [name, "shape" if is_shape else "lnN", *cells]


def _rate_parameters(spec: Spec, names: Names, processes: Sequence[Process]) -> Iterator[list[str]]:
    """Yield the lines of the NormFactors apart from the POI."""
    linear = _linear(spec)
    for parameter in cabinetry.factors_of(spec):
        if parameter.name == spec.poi:
            continue
        name, nominal = names.parameters[parameter.name], _number(parameter.init[0])
        bounds = "[{},{}]".format(*map(_number, parameter.bounds[0]))
        if parameter in linear:
            yield [name, "extArg", nominal, bounds]
        for process in processes:
            if mod.NormFactor(parameter.name) not in process.sample.modifiers:
                continue
            scale = [name, nominal, bounds]
            if parameter in linear:
                formula = "(@0)" if process.sign > 0 else "(-@0)"
                scale = [names.scales[parameter.name, process.sign], formula, name]
            yield [scale[0], "rateParam", names.channels[process.channel], process.name, *scale[1:]]


def _groups(spec: Spec, names: Names, effects: Effects) -> Iterator[list[str]]:
    shapes = [parameter for parameter, effect in effects.items() if _is_shape(effect)]
    members = {
        "normalisation": [parameter for parameter in effects if parameter not in shapes],
        "shape": shapes,
        "free": [parameter.name for parameter in cabinetry.factors_of(spec) if parameter.name != spec.poi],
    }
    for group, parameters in members.items():
        if parameters:
            yield [group, "group", "=", *(names.parameters[parameter] for parameter in parameters)]


def _number(value: float) -> str:
    return f"{value:.12g}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() + "\n" for row in rows
    )


# --------------------------------------------------------------------------------------------------- cabinetry
def _cabinetry_config(spec: Spec, names: Names) -> cabinetry.Config:
    """Return the configuration with paths to the ROOT histograms."""
    known = cabinetry.names(spec)
    config = cabinetry.config(spec, known, Path(cabinetry.HISTOGRAMS))
    config["General"] |= {"InputPath": SHAPES + ":{RegionPath}/{SamplePath}{VariationPath}", "VariationPath": ""}
    for region in config["Regions"]:
        region["RegionPath"] = names.channels[region["Name"]]
    paths = {known.samples[name]: text for name, text in names.processes.items()} | {cabinetry.DATA: DATA}
    for sample in config["Samples"]:
        sample["SamplePath"] = paths[sample["Name"]]
    for systematic in config["Systematics"]:
        if systematic["Type"] == "NormPlusShape":
            name = names.parameters[systematic.get("ModifierName", systematic["Name"])]
            for side in ("Up", "Down"):
                systematic[side] = {"VariationPath": f"_{name}{side}"}
    return config
