"""One part of the production: generate, measure, select, in every variation; stored so that a production resumes."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from functools import cache
from pathlib import Path

import awkward as ak
import numpy as np

from inferno_cli.analyses.cut_flow import CutFlow
from inferno_cli.analyses.top11004.features import features
from inferno_cli.analyses.top11004.selection import select
from inferno_cli.analyses.top11004.variations import vary
from inferno_cli.code import code_digest
from inferno_cli.events.sample import DIRECTIONS
from top11004.detector import control_weight, reconstruct, tag_weight, trigger_weight
from top11004.settings import PROCESSES, Settings

NOMINAL = "nominal"


def part_seed(seed: int, process: str, chunk: int) -> int:
    """Return the seed of one part: it depends on nothing but the user's seed, the process and the number."""
    sequence = np.random.SeedSequence([seed, zlib.crc32(process.encode()), chunk])
    return int(sequence.generate_state(1)[0]) % 899_999_999 + 1


@cache
def code_key() -> str:
    """Return the digest of the code that makes a part: of this folder, and of the package's preparation."""
    digest = hashlib.sha256(code_digest("analyses").encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:8]


def part_path(folder: Path, process: str, chunk: int, settings: Settings) -> Path:
    """Return the file of one part: another one if the settings or the code change."""
    return folder / f"{process}-{settings.key(process)}-{code_key()}-{chunk:04d}.npz"


def make_part(folder: Path, process: str, chunk: int, settings: Settings) -> Path:
    """Make one part, unless it is there."""
    path = part_path(folder, process, chunk, settings)
    if path.is_file():
        return path
    from top11004.generate import generate

    seed = part_seed(settings.seed, process, chunk)
    truth, record = generate(process, settings, seed)
    rng = np.random.default_rng([seed, 2])
    events = reconstruct(truth, settings.detector, rng, PROCESSES[process].smearings)
    tables, cut_flow = select_all(events, process, settings)
    arrays = {f"{variation}/{name}": values for variation, table in tables.items() for name, values in table.items()}
    arrays["record"] = np.array(json.dumps({**record, "seed": seed, "cut_flow": vars(cut_flow)}))
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp.npz")
    np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)  # whole or not at all
    return path


def load_part(path: Path) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, object]]:
    """Return the tables of a part by variation, and its record."""
    tables: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path) as stored:
        record = json.loads(str(stored["record"]))
        for key in stored.files:
            if key != "record":
                variation, _, name = key.partition("/")
                tables.setdefault(variation, {})[name] = stored[key]
    return tables, record


def select_all(events: ak.Array, process: str, settings: Settings) -> tuple[dict[str, dict[str, np.ndarray]], CutFlow]:
    """Run the package's selection on the events and on every shifted version of them.

    Args:
        events: Reconstructed.
        process: Its name.
        settings: Selection and variations.

    Returns:
        Tables by variation, and the cut flow of the nominal.
    """
    selection, variations = settings.selection, settings.variations
    multijet = PROCESSES[process].sample in ("QCD", "Data")
    radius = selection.jets.cleaning_radius
    shifted = {NOMINAL: events}
    if not multijet:
        shifted |= {
            f"{name}_{direction}": vary(events, name, direction, variations, radius)
            for name in variations.run
            for direction in DIRECTIONS
        }
    # Once for each event, of all its jets before any shift: what thins a sample must not depend on the variation.
    central = events["jets"][(np.abs(events["jets"]["eta"]) < selection.jets.eta_max) & (events["jets"]["pt"] > 20)]
    region = tag_weight(central, settings.detector)
    if process == "qcd":  # the control sample has no tag; its probability is a weight as the others' is
        region = 1 - region
    importance = ak.to_numpy(events["weight"]) * region
    tables = {}
    for variation, moved in shifted.items():
        selected = select(moved, selection, ak.to_numpy(events["weight"]))
        if variation == NOMINAL:
            cut_flow = selected.cut_flow
        rows, jets = selected.rows, selected.jets
        tagged = tag_weight(jets, settings.detector)
        source = events[rows]
        table = {
            **features(selected.tau, jets, selected.met),
            "number": ak.to_numpy(source["number"]).astype(np.int64),
            "smearing": ak.to_numpy(source["smearing"]).astype(np.int64),
            "weight": ak.to_numpy(source["weight"]),
            "importance": importance[rows],
            "nJets": ak.to_numpy(ak.num(jets)).astype(np.int16),
            "PV_npvs": ak.to_numpy(source["n_vertices"]).astype(np.int16),
        }
        trigger, error = trigger_weight(ak.to_numpy(selected.tau["pt"]), jets, settings.detector)
        table |= {"trigger_weight": trigger, "trigger_error": error, "btag_weight1": tagged}
        if multijet:
            table["btag_weight2"] = control_weight(jets, settings.detector)
        else:
            table |= {
                "btag_weight1_up": tag_weight(jets, settings.detector, 1),
                "btag_weight1_down": tag_weight(jets, settings.detector, -1),
            }
            if "pdf" in source.fields:
                table["pdf"] = ak.to_numpy(source["pdf"])
        tables[variation] = table
    return tables, cut_flow
