"""A built workspace in the files of other tools: ROOT histograms, a Combine datacard, a cabinetry configuration.

The source is the cabinetry configuration that ``build`` made the workspace from, with its histograms: whatever the
workspace is made of is exported, and nothing is described twice. In the datacard

- the POI is Combine's ``r``: processes that it scales have an id of 0 or below;
- a normsys is a ``lnN`` with both factors, kappa down / kappa up;
- a shape (normsys and histosys of one parameter) is a ``shape``. Combine splits it into yield and shape as cabinetry
  does, and its interpolation of the shape is HistFactory's code4p;
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
from typing import TYPE_CHECKING, Any

import numpy as np

from inferno_cli.errors import WorkspaceError
from inferno_cli.names import another, distinct_with_parts, printable
from inferno_cli.workspace.build import Workspace

if TYPE_CHECKING:
    from cabinetry.histo import Histogram

log = logging.getLogger(__name__)

Config = dict[str, Any]

SHAPES, DATACARD, CONFIG = "shapes.root", "datacard.txt", "cabinetry.yaml"
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
class Process:
    """A column of the datacard.

    Attributes:
        name: As Combine knows it.
        sample: Its entry in the cabinetry configuration.
        signal: Whether the POI scales it.
        sign: Of its factor, for a part of a free shape; 0 for a process proper.
    """

    name: str
    sample: Config
    signal: bool
    sign: int = 0


def export(workspace: Workspace, folder: Path, label: str = "") -> tuple[Path, ...]:
    """Write ``shapes.root``, ``datacard.txt`` and the ``cabinetry.yaml`` that reads the histograms back.

    All paths in the files are relative to ``folder``, which can be moved.

    Args:
        workspace: What ``build`` wrote.
        folder: Where the files go.
        label: What the head of the datacard says about the events, or empty.

    Raises:
        WorkspaceError: If a parameter acts on a sample in two ways.
    """
    import uproot
    import yaml

    exporter = _Exporter(yaml.safe_load(workspace.config.read_text(encoding="utf-8")), workspace.samples)
    datacard = exporter.datacard("observed events" if workspace.observed else "Asimov data", label)
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / name for name in (SHAPES, DATACARD, CONFIG))
    with uproot.recreate(paths[0]) as file:
        for key, histogram in exporter.histograms.items():
            file[key] = histogram
    paths[1].write_text(datacard, encoding="utf-8")
    paths[2].write_text(yaml.safe_dump(exporter.cabinetry_config(), sort_keys=False), encoding="utf-8")
    return paths


def parameter_of(modifier: Config) -> str:
    """Name of the parameter of a NormFactor or Systematic of a cabinetry configuration."""
    return str(modifier.get("ModifierName", modifier["Name"]))


def datacard_name(name: str, prefix: str) -> str:
    """Return a name that RooFit takes: letters, digits and ``_``.

    A name that begins with a digit, or that Combine gives to something else (a nuisance parameter ``r``), gets the
    prefix, as Combine itself puts "theta" in front of a digit.
    """
    safe = re.sub(r"\W", "_", name, flags=re.ASCII)
    if safe in TAKEN or safe.startswith(MC_STATISTICS) or not safe[:1].isalpha():
        safe = f"{prefix}_{safe}"
    return safe


class _Exporter:
    """One cabinetry configuration with its histograms, in Combine's words."""

    def __init__(self, config: Config, samples: Mapping[str, str]) -> None:
        from cabinetry.configuration import sample_contains_modifier

        self.acts_on = sample_contains_modifier
        self.config = config
        (self.region,) = config["Regions"]
        self.factors: list[Config] = config["NormFactors"]
        self.systematics: list[Config] = config["Systematics"]
        self.poi: Config = next(factor for factor in self.factors if factor["Name"] == config["General"]["POI"])
        self.linear = [factor for factor in self.factors if factor["Nominal"] == 0]
        self.channel = datacard_name(self.region["Name"], "bin")
        self.samples = [sample for sample in config["Samples"] if not sample.get("Data", False)]
        self.has_staterror = not all(sample.get("DisableStaterror", False) for sample in self.samples)

        self.parameters = self._parameter_names(samples)
        self.scales = self._scale_names()
        self.names = self._process_names(samples)
        self.renamed = [("process", samples[name], text) for name, text in self.names.items() if samples[name] != text]
        self.renamed += [("parameter", name, text) for name, text in self.parameters.items() if name != text]

        self.histograms: dict[str, Histogram] = {}
        (data,) = (sample for sample in config["Samples"] if sample.get("Data", False))
        self._add(DATA, self._load(data))
        self.processes = [process for sample in self.samples for process in self._processes(sample)]
        self.effects = self._effects()
        self.shapes = [
            parameter
            for parameter, effect in self.effects.items()
            if any(systematic["Type"] == "NormPlusShape" for systematic in effect.values())
        ]
        self._add_variations()

    # ------------------------------------------------------------------------------------------------ names
    def _parameter_names(self, samples: Mapping[str, str]) -> dict[str, str]:
        """Names of the parameters but the POI; RooFit holds a constraint ``X_Pdf`` of each with its centre ``X_In``."""
        processes = [datacard_name(samples[sample["Name"]], "proc") for sample in self.samples]
        parameters = dict.fromkeys(map(parameter_of, (*self.factors, *self.systematics)))
        del parameters[self.poi["Name"]]
        return distinct_with_parts(
            parameters,
            lambda name: datacard_name(name, "theta"),
            lambda _, text: (text, f"{text}_In", f"{text}_Pdf"),
            taken=(self.channel, *processes),
        )

    def _scale_names(self) -> dict[tuple[str, int], str]:
        """Names of what scales the positive and the negative part of a free shape, by parameter and sign."""
        found: dict[tuple[str, int], str] = {}
        for factor in self.linear:
            for side, sign in SIDES:
                text = f"{self.parameters[factor['Name']]}_{side}"
                used = (*self.parameters.values(), *found.values())
                found[factor["Name"], sign] = text if text not in used else another(text, text, used)
        return found

    def _process_names(self, samples: Mapping[str, str]) -> dict[str, str]:
        """Names of the samples, with which PROCESS_SYSTEMATICUp is one histogram, by those in the configuration."""
        by_name = {samples[sample["Name"]]: sample for sample in self.samples}

        def histograms(name: str, text: str) -> Iterator[str]:
            sides = [side for side, _ in SIDES] if any(self.acts_on(by_name[name], x) for x in self.linear) else []
            varied = {parameter_of(x) for x in self.systematics if self.acts_on(by_name[name], x)}
            for process in (text, *(f"{text}_{side}" for side in sides)):
                yield process
                for parameter in varied:
                    yield from (f"{process}_{self.parameters[parameter]}{side}" for side in ("Up", "Down"))

        taken = (DATA, self.channel, *self.parameters.values(), *self.scales.values())
        found = distinct_with_parts(by_name, lambda name: datacard_name(name, "proc"), histograms, taken=taken)
        return {sample["Name"]: found[name] for name, sample in by_name.items()}

    # ------------------------------------------------------------------------------------------- histograms
    def _load(self, sample: Config, systematic: Config | None = None, direction: str | None = None) -> Histogram:
        from cabinetry.histo import Histogram

        folder = self.config["General"]["HistogramFolder"]
        return Histogram.from_config(folder, self.region, sample, systematic or {}, template=direction)

    def _add(self, name: str, histogram: Histogram) -> None:
        key = f"{self.channel}/{name}"
        assert key not in self.histograms, key
        self.histograms[key] = histogram

    def _processes(self, sample: Config) -> list[Process]:
        """Columns of a sample: itself, or for a free shape its positive and its negative part."""
        name, nominal = self.names[sample["Name"]], self._load(sample)
        if self.has_staterror and sample.get("DisableStaterror", False):
            nominal.stdev = np.zeros_like(nominal.stdev)  # autoMCStats counts the errors of every process
        signal = self.acts_on(sample, self.poi)
        # Of a free shape Combine reads only the parts, cabinetry only the whole.
        self._add(name, nominal)
        if not any(self.acts_on(sample, factor) for factor in self.linear):
            return [Process(name, sample, signal)]
        found = []
        for side, sign in SIDES:
            part = (sign * nominal.yields).clip(min=0)
            if part.any():  # Combine refuses an empty process
                self._add(f"{name}_{side}", nominal.from_arrays(nominal.bins, part, np.zeros_like(part)))
                found.append(Process(f"{name}_{side}", sample, signal, sign))
        return found

    def _effects(self) -> dict[str, dict[str, Config]]:
        """Systematic of each process, by parameter and process."""
        effects: dict[str, dict[str, Config]] = {}
        for systematic in self.systematics:
            parameter = parameter_of(systematic)
            for process in self.processes:
                if not self.acts_on(process.sample, systematic):
                    continue
                effect = effects.setdefault(parameter, {})
                if process.name in effect:
                    raise WorkspaceError(
                        f"{parameter!r} acts twice on {process.sample['Name']!r}, which a Combine datacard cannot say; "
                        "set export=false"
                    )
                effect[process.name] = systematic
        return effects

    def _add_variations(self) -> None:
        """Gather the templates of the shapes."""
        for parameter in self.shapes:
            for process in self.processes:
                if (systematic := self.effects[parameter].get(process.name)) is None:
                    continue
                for direction in ("Up", "Down"):
                    if systematic["Type"] == "NormPlusShape":
                        template = self._load(process.sample, systematic, direction)
                    else:
                        # A parameter has one line: beside shapes, a change of the yield is a scaled template.
                        nominal = self.histograms[f"{self.channel}/{process.name}"]
                        template = nominal * (1 + systematic[direction]["Normalization"])
                    self._add(f"{process.name}_{self.parameters[parameter]}{direction}", template)

    def _truncated(self) -> list[str]:
        """Histograms with a negative bin that Combine reads."""
        whole = {self.names[process.sample["Name"]] for process in self.processes if process.sign}
        return [
            key
            for key, histogram in self.histograms.items()
            if (histogram.yields < 0).any() and key.removeprefix(f"{self.channel}/") not in whole
        ]

    # --------------------------------------------------------------------------------------------- datacard
    def datacard(self, data: str, label: str) -> str:
        """Return the text of the datacard; ``data`` says what is in ``data_obs``."""
        low, high = self.poi["Bounds"]
        said = f": {printable(label)}" if label else ""
        head = HEAD.format(low=low, high=high, poi=self.poi["Name"], data=data, label=said)
        for what, name, text in self.renamed:
            head += f"# {what} {text} is {name!r} in workspace.json\n"
        if negative := self._truncated():
            text = f"Combine sets bins below 0 to 0, here in {', '.join(negative)}"
            log.warning(f"export: {text}")
            head += f"# - {text}\n"
        ordered = sorted(self.processes, key=lambda process: not process.signal)
        first = 1 - sum(process.signal for process in ordered)  # the last signal has id 0
        n = len(ordered)
        blocks = [
            [
                ["imax", "1", "number of channels"],
                ["jmax", str(n - 1), "number of processes minus 1"],
                ["kmax", str(len(self.effects)), "number of constrained nuisance parameters"],
            ],
            [["shapes", "*", "*", SHAPES, "$CHANNEL/$PROCESS", "$CHANNEL/$PROCESS_$SYSTEMATIC"]],
            [["bin", self.channel], ["observation", "-1"]],
            [
                ["bin", "", *[self.channel] * n],
                ["process", "", *(process.name for process in ordered)],
                ["process", "", *(str(first + i) for i in range(n))],
                ["rate", "", *["-1"] * n],
                *(self._line(parameter, ordered) for parameter in self.effects),
            ],
            self._rate_parameters(ordered),
            self._groups(),
            [[self.channel, "autoMCStats", "0" if self.has_staterror else "-1", "1", "1"]],
        ]
        rule = "-" * 100 + "\n"
        return head + rule.join(_table(block) for block in blocks if block)

    def _line(self, parameter: str, processes: Sequence[Process]) -> list[str]:
        """One constrained parameter and its effect on every process."""
        is_shape, effects = parameter in self.shapes, self.effects[parameter]
        cells = []
        for process in processes:
            if process.name not in effects:
                cells.append("-")
            elif is_shape:
                cells.append("1")
            else:
                down, up = (1 + effects[process.name][side]["Normalization"] for side in ("Down", "Up"))
                cells.append(f"{_number(down)}/{_number(up)}")
        return [self.parameters[parameter], "shape" if is_shape else "lnN", *cells]

    def _rate_parameters(self, processes: Sequence[Process]) -> list[list[str]]:
        """The NormFactors apart from the POI."""
        rows = []
        for factor in self.factors:
            if factor is self.poi:
                continue
            name, linear = self.parameters[factor["Name"]], factor in self.linear
            bounds = "[{},{}]".format(*map(_number, factor["Bounds"]))
            if linear:
                rows.append([name, "extArg", _number(factor["Nominal"]), bounds])
            for process in processes:
                if not self.acts_on(process.sample, factor):
                    continue
                if linear:
                    formula = "(@0)" if process.sign > 0 else "(-@0)"
                    scale = [self.scales[factor["Name"], process.sign], formula, name]
                else:
                    scale = [name, _number(factor["Nominal"]), bounds]
                rows.append([scale[0], "rateParam", self.channel, process.name, *scale[1:]])
        return rows

    def _groups(self) -> list[list[str]]:
        members = {
            "normalisation": [parameter for parameter in self.effects if parameter not in self.shapes],
            "shape": self.shapes,
            "free": [factor["Name"] for factor in self.factors if factor is not self.poi],
        }
        return [
            [group, "group", "=", *(self.parameters[parameter] for parameter in parameters)]
            for group, parameters in members.items()
            if parameters
        ]

    # -------------------------------------------------------------------------------------------- cabinetry
    def cabinetry_config(self) -> Config:
        """Return the configuration with paths to the ROOT histograms."""
        general = {
            "InputPath": SHAPES + ":{RegionPath}/{SamplePath}{VariationPath}",
            "VariationPath": "",
            "HistogramFolder": "histograms",
        }
        paths = self.names | {sample["Name"]: DATA for sample in self.config["Samples"] if sample.get("Data", False)}
        return self.config | {
            "General": self.config["General"] | general,
            "Regions": [self.region | {"RegionPath": self.channel}],
            "Samples": [sample | {"SamplePath": paths[sample["Name"]]} for sample in self.config["Samples"]],
            "Systematics": [self._with_path(systematic) for systematic in self.systematics],
        }

    def _with_path(self, systematic: Config) -> Config:
        if systematic["Type"] != "NormPlusShape":
            return systematic
        name = self.parameters[parameter_of(systematic)]
        return systematic | {side: systematic[side] | {"VariationPath": f"_{name}{side}"} for side in ("Up", "Down")}


def _number(value: float) -> str:
    return f"{value:.12g}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Lines with aligned columns."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() + "\n" for row in rows
    )
