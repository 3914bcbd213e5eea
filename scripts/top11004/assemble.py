"""From the parts to the file: samples of nearly equal weights, normalised to the published yields, and pseudo-data."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np

from inferno_cli.analyses.cut_flow import CutFlow
from inferno_cli.analyses.top11004.features import FEATURES
from inferno_cli.events.sample import DIRECTIONS
from top11004.parts import NOMINAL, load_part
from top11004.settings import (
    CROSS_SECTION_ERROR,
    LABEL,
    PROCESSES,
    PSEUDO_DATA_EVERY,
    QCD_FACTOR,
    ROWS,
    YIELD_FACTOR,
    YIELDS,
    Settings,
)

Table = dict[str, np.ndarray]
LUMINOSITY_BLOCK = 1000
"""Events in one."""


@dataclass
class Sample:
    """All that was generated for one sample.

    Attributes:
        tables: By variation; ``row`` identifies an event in all of them.
        cut_flows: By process, weights in pb.
    """

    tables: dict[str, Table] = field(default_factory=dict)
    cut_flows: dict[str, CutFlow] = field(default_factory=dict)


def collect(paths: dict[str, list[Path]], settings: Settings) -> Sample:
    """Join the parts of some processes; every event's weight becomes its share of the cross-section in pb."""
    sample = Sample()
    parts: dict[str, list[Table]] = {}
    row, smearings = 0, max(PROCESSES[process].smearings for process in paths)
    for process, files in paths.items():
        loaded = [load_part(path) for path in files]
        cross_section = np.mean([record["cross_section_pb"] for _, record in loaded])
        factor = cross_section / sum(record["tried_weight"] for _, record in loaded)
        for tables, record in loaded:
            flow = CutFlow(**{key: tuple(value) for key, value in record["cut_flow"].items()}).scaled(factor)
            sample.cut_flows[process] = sample.cut_flows[process] + flow if process in sample.cut_flows else flow
            for variation, table in tables.items():
                source = row + table["number"]
                parts.setdefault(variation, []).append(
                    {
                        **table,
                        "weight": table["weight"] * factor,
                        "importance": table["importance"] * factor,
                        "source": source,
                        "row": source * smearings + table["smearing"],
                    }
                )
            row += settings.chunk + 1
    for variation, tables in parts.items():
        sample.tables[variation] = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    return sample


def inclusion(weight: np.ndarray, rows: int) -> np.ndarray:
    """Probability of each row to be kept: proportional to its weight, at most 1, and ``rows`` in all.

    Rows above the cut keep their larger weight; all others leave with one common weight.
    """
    if rows >= len(weight):
        return np.ones(len(weight))
    order = np.sort(weight)[::-1]
    above = np.arange(len(order))
    rest = np.cumsum(order[::-1])[::-1]
    # With the `above` largest kept, the others share what is left; the cut must not be below the largest of them.
    cut = rest / np.maximum(rows - above, 1e-9)
    index = int(np.argmax((cut >= order) | (above >= rows)))
    return np.minimum(weight / cut[index], 1.0)


def thin(sample: Sample, rows: int, rng: np.random.Generator) -> Sample:
    """Drop rows of small weight at random, the same ones in every variation, and raise the weight of the others."""
    nominal = sample.tables[NOMINAL]
    everything = np.concatenate([table["row"] for table in sample.tables.values()])
    importance = np.concatenate([table["importance"] for table in sample.tables.values()])
    unique, first = np.unique(everything, return_index=True)
    importance = importance[first]
    position = np.searchsorted(unique, nominal["row"])
    # The cut from the nominal rows, for all.
    probability = inclusion(importance[position], rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        cut = np.min(np.where(probability > 0, importance[position] / probability, np.inf))
    probability_all = np.minimum(importance / cut, 1.0) if (probability < 1).any() else np.ones(len(unique))
    kept = rng.random(len(unique)) < probability_all
    tables = {}
    for variation, table in sample.tables.items():
        at = np.searchsorted(unique, table["row"])
        mask = kept[at]
        tables[variation] = {name: values[mask] for name, values in table.items()}
        tables[variation]["weight"] = tables[variation]["weight"] / probability_all[at][mask]
    return Sample(tables, sample.cut_flows)


def split_off(sample: Sample, every: int) -> tuple[Sample, Table]:
    """Set one generated event in ``every`` aside for the pseudo-data."""
    tables = {}
    for variation, table in sample.tables.items():
        mask = table["source"] % every != 0
        tables[variation] = {name: values[mask] for name, values in table.items()}
    nominal = sample.tables[NOMINAL]
    mask = nominal["source"] % every == 0
    return Sample(tables, sample.cut_flows), {name: values[mask] for name, values in nominal.items()}


def event_weight(name: str, table: Table) -> np.ndarray:
    """Weight of each row in the likelihood, before normalisation."""
    if name == "QCD":
        return QCD_FACTOR * table["weight"] * table["btag_weight2"]
    return np.asarray(table["weight"] * table["trigger_weight"] * table["btag_weight1"])


def full_yield(name: str) -> float:
    """Published expectation without the downsampling."""
    return YIELDS[name] / YIELD_FACTOR


def trees(name: str, sample: Sample) -> dict[str, Table]:
    """Branches of the sample's trees, by name of the tree."""
    if name == "QCD":
        # The probability of no tag was a weight; the row is an untagged event from here on.
        for table in sample.tables.values():
            table["weight"] = table["weight"] * (1 - table["btag_weight1"])
    scale = full_yield(name) / event_weight(name, sample.tables[NOMINAL]).sum()
    rows = np.unique(np.concatenate([table["row"] for table in sample.tables.values()]))
    found = {}
    for variation, table in sample.tables.items():
        event = (np.searchsorted(rows, table["row"]) + 1).astype(np.int64)
        norm = (table["weight"] * scale).astype(np.float32)
        branches: Table = {
            "event": event,
            "run": np.ones(len(event), np.int32),
            "luminosityBlock": (event // LUMINOSITY_BLOCK + 1).astype(np.int32),
            **{feature: table[feature].astype(np.float32) for feature in FEATURES},
            "nJets": table["nJets"],
            "PV_npvs": table["PV_npvs"],
            "norm": norm,
        }
        if name == "QCD":
            weight = table["btag_weight2"]
            branches |= {
                "btag_weight2": weight.astype(np.float32),
                "btag_weight2_up": (1.1 * weight).astype(np.float32),
                "btag_weight2_down": (0.9 * weight).astype(np.float32),
                "source_event": (np.searchsorted(np.unique(table["source"]), table["source"]) + 1).astype(np.int32),
            }
        else:
            error = CROSS_SECTION_ERROR[name]
            branches |= {
                "norm_up": norm * np.float32(1 + error),
                "norm_down": norm * np.float32(1 - error),
                "trigger_weight": table["trigger_weight"].astype(np.float32),
                "trigger_up": (1 + table["trigger_error"]).astype(np.float32),
                "trigger_down": (1 - table["trigger_error"]).astype(np.float32),
                **{
                    key: table[key].astype(np.float32)
                    for key in ("btag_weight1", "btag_weight1_up", "btag_weight1_down")
                },
            }
            if "pdf" in table and variation == NOMINAL:  # no systematic is combined with another
                branches |= {
                    "pdf_up": (1 + table["pdf"]).astype(np.float32),
                    "pdf_down": (1 - table["pdf"]).astype(np.float32),
                }
        found[name if variation == NOMINAL else f"{name}_{variation}"] = branches
    return found


def pseudo_data(pools: dict[str, Table], rng: np.random.Generator) -> tuple[Table, dict[str, dict[str, float]]]:
    """Draw the observed events: a Poisson number from each sample, each row at most once.

    Args:
        pools: Rows set aside, by sample; the multijets with their probability of at least one tag.
        rng: For the numbers, the rows and their order.

    Returns:
        Branches, and by sample how many rows were wanted and drawn, of how many generated events, and the share of the
        pool's weight that is lost because a row cannot be drawn twice.
    """
    parts, record = [], {}
    for name, table in pools.items():
        weight = event_weight("", table) if name != "QCD" else table["weight"] * table["btag_weight1"]
        number = int(rng.poisson(full_yield(name)))
        probability = inclusion(weight, number)
        # Systematic sampling in random order: exactly the number wanted, each row at most once.
        order = rng.permutation(len(weight))
        edges = np.floor(np.cumsum(probability[order]) + rng.random())
        chosen = order[np.diff(edges, prepend=0.0) > 0.5]
        ideal = weight / weight.sum()
        lost = float(np.maximum(ideal - probability / probability.sum(), 0).sum())
        record[name] = {
            "wanted": number,
            "drawn": len(chosen),
            "generated_events": len(np.unique(table["source"][chosen])),
            "weight_moved": round(lost, 4),
        }
        parts.append({key: table[key][chosen] for key in (*FEATURES, "nJets", "PV_npvs")})
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    n = len(joined["ht"])
    order = rng.permutation(n)
    runs = np.sort(rng.choice(np.arange(160_404, 177_516), size=20, replace=False))
    branches: Table = {
        "event": np.arange(1, n + 1, dtype=np.int64),
        "run": np.sort(rng.choice(runs, n)).astype(np.int32),
        "luminosityBlock": rng.integers(1, 2000, n).astype(np.int32),
        **{feature: joined[feature][order].astype(np.float32) for feature in FEATURES},
        "nJets": joined["nJets"][order],
        "PV_npvs": joined["PV_npvs"][order],
    }
    return branches, record


def checksum(branches: Table) -> str:
    """Return the sha256 of the branches' names, types and bytes."""
    digest = hashlib.sha256()
    for name in sorted(branches):
        digest.update(f"{name} {branches[name].dtype.str} ".encode())
        digest.update(np.ascontiguousarray(branches[name]).tobytes())
    return digest.hexdigest()


def write(path: Path, found: dict[str, Table], record: dict[str, object]) -> None:
    """Write the trees, the ``label`` of every result from them, and how they were made (``simulation``, JSON).

    The same content makes the same file, byte for byte: without dates, and with an identifier made of the content.
    """
    import uproot

    record = {**record, "checksums": {name: checksum(branches) for name, branches in found.items()}}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.root")
    said = json.dumps(record, sort_keys=True)
    identifier = uuid.uuid5(uuid.NAMESPACE_OID, said)
    with (
        # uproot has no option for the dates of ROOT's objects; an open file leaves its own name out of them.
        mock.patch("uproot._util.datetime_to_code", return_value=0),
        temporary.open("w+b") as opened,
        uproot.recreate(opened, compression=uproot.LZMA(6), uuid_function=lambda: identifier) as file,
    ):
        for name in sorted(found):
            file.mktree(name, {key: values.dtype for key, values in found[name].items()})
            file[name].extend(found[name])
        file["label"] = LABEL
        file["simulation"] = said
    temporary.replace(path)


def build(
    paths: dict[str, list[Path]], settings: Settings, rows: dict[str, int] | None = None
) -> tuple[dict[str, Table], dict[str, dict[str, dict[str, float]]], list[str]]:
    """Make every tree from the parts.

    Args:
        paths: Parts of every process.
        settings: Of the production.
        rows: Nominal rows of each sample, at most.

    Returns:
        Branches by tree, what to store beside them, and a table of the cut flows, line by line.
    """
    rows = rows or ROWS
    rng = np.random.default_rng([settings.seed, 3])
    found: dict[str, Table] = {}
    pools: dict[str, Table] = {}
    lines: list[str] = []
    for name in rows:
        processes = {key: value for key, value in paths.items() if PROCESSES[key].sample == name}
        sample = collect(processes, settings)
        for process, flow in sample.cut_flows.items():
            lines += [*flow.lines(f"{process} (pb)"), ""]
        if name != "QCD":
            sample, pools[name] = split_off(sample, PSEUDO_DATA_EVERY)
        found |= trees(name, thin(sample, rows[name], rng))
    multijet = {key: value for key, value in paths.items() if PROCESSES[key].sample == "Data"}
    pools["QCD"] = collect(multijet, settings).tables[NOMINAL]
    found["Data"], drawn = pseudo_data(pools, rng)
    missing = [f"{name}_{direction}" for name in settings.variations.run for direction in DIRECTIONS]
    for name in rows:
        if name != "QCD":
            assert all(f"{name}_{suffix}" in found for suffix in missing)
    return found, {"pseudo_data": drawn}, lines
