"""Two eras from the command line to the workspace and to the predictions of each file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyhf
import pytest
import uproot
import yaml
from conftest import write

from integration.conftest import FIT_ONLY_MU, QUICK, Outcome, own_analysis, succeed, trees

ERAS = ("2017", "2018")
LUMI = {"kind": "normalisation", "samples": ["ttbar", "QCD"], "size": 0.1, "correlated": {"by": "era"}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run on two eras with the same event numbers, of which the second has twice the weights."""
    folder = tmp_path_factory.mktemp("eras")
    config = own_analysis(folder)
    for era, scale in zip(ERAS, (1.0, 2.0), strict=True):
        (folder / era).mkdir()
        scaled = {name: table | {"w": table["w"] * scale} for name, table in trees().items() if name != "Data"}
        write(folder / era / "all.root", scaled | {"Data": trees()["Data"]})
    path = config / "dataset" / "mine.yaml"
    dataset = yaml.safe_load(path.read_text())
    dataset |= {"path": "../..", "file": "{era}/all.root", "eras": list(ERAS)}
    dataset["systematics"]["lumi"] = LUMI
    dataset["systematics"]["jes"]["correlated"] = {"by": "era"}
    path.write_text(yaml.safe_dump(dataset))
    point = ("--config-dir", str(config), "+experiment=mine", *QUICK, *FIT_ONLY_MU, "nuisance.fit=[jes,lumi]")
    return succeed("train", *point, "nuisance.train=[jes,lumi]", f"output_dir={folder}", f"hydra.run.dir={folder}/run")


def test_each_era_has_its_parameters_in_a_workspace_that_pyhf_reads(trained: Outcome) -> None:
    names = {f"{systematic}_{era}" for systematic in ("jes", "lumi") for era in ERAS}
    assert names < set(trained.results.parameters)
    model = pyhf.Workspace(json.loads(Path(trained.results.workspace).read_text())).model(
        modifier_settings={"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
    )
    nominal = np.array(model.config.suggested_init())
    totals = {}
    for name in names:
        shifted = nominal.copy()
        shifted[model.config.par_map[name]["slice"]] = 1.0
        totals[name] = model.expected_actualdata(shifted).sum() / model.expected_actualdata(nominal).sum() - 1
    # Of the expected events a third are of the first era.
    assert totals["lumi_2017"] == pytest.approx(0.1 / 3, rel=1e-6)
    assert totals["lumi_2018"] == pytest.approx(0.2 / 3, rel=1e-6)


def test_predictions_keep_the_folders_of_the_eras_and_know_their_splits(trained: Outcome, tmp_path: Path) -> None:
    succeed("predict", f"run={trained.path.parent}", f"output={tmp_path}/out")
    splits = []
    for era in ERAS:
        with uproot.open(tmp_path / "out" / era / "all.root") as file:
            assert "Data" not in file
            splits.append(file["QCD"].arrays(["event", "split"], library="np"))
    np.testing.assert_array_equal(splits[0]["event"], splits[1]["event"])
    for split in splits:
        assert set(split["split"]) == {0, 1, 2}
    assert np.mean(splits[0]["split"] == splits[1]["split"]) == pytest.approx(0.36, abs=0.05)
