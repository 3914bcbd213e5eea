"""A training that is killed goes on when the command is repeated, and all files are those of one that was not."""

from __future__ import annotations

import math
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import write

from inferno_cli.training import partial
from inferno_cli.training.trainer import Validation
from integration.conftest import FIT_ONLY_MU, QUICK, Outcome, comparable, inferno, own_analysis, succeed, trees

POINT = (
    *("+experiment=mine", *QUICK, *FIT_ONLY_MU, "dataset.splits.folds=2", "trainer.max_epochs=20"),
    *("trainer.input_noise=0.1", "trainer.threads=1", "export=false"),
)
FILES = ("workspace.json", "membership.npz", "checkpoints/best_fold*.ckpt", "model*.onnx")


def require_same(one: Outcome, two: Outcome) -> None:
    assert comparable(one.results) == comparable(two.results)
    files = []
    for pattern in FILES:
        files += [path.relative_to(one.path.parent) for path in one.path.parent.glob(pattern)]
    assert len(files) == 6
    for file in files:
        assert (one.path.parent / file).read_bytes() == (two.path.parent / file).read_bytes(), file


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_analysis(tmp_path_factory.mktemp("analysis"))


@pytest.fixture(scope="module")
def undisturbed(analysis: Path) -> Outcome:
    return succeed("train", "--config-dir", str(analysis), *POINT, f"hydra.run.dir={analysis.parent}/run")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_same_command_goes_on(number: signal.Signals, analysis: Path, undisturbed: Outcome, tmp_path: Path) -> None:
    """It is killed in the training of the second fold: the first is not trained again."""
    arguments = ("train", "--config-dir", str(analysis), *POINT, f"hydra.run.dir={tmp_path}")
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # not so below a shell's "&"
    program = f"{heard}\nfrom inferno_cli.cli.main import main\nmain()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not (tmp_path / "partial" / "best_fold1.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait() == (-9 if number == signal.SIGKILL else 128 + number)
    assert not (tmp_path / "results.json").exists()

    outcome = succeed(*arguments)

    assert "training: had ended before the run was interrupted, after epoch 20" in outcome.out
    assert re.search(r"training: goes on behind epoch \d+", outcome.out)
    assert outcome.out.count("epoch  20/20") == 1
    require_same(outcome, undisturbed)
    assert not (tmp_path / "partial").exists()


def until(monkeypatch: pytest.MonkeyPatch, epoch: int, *arguments: str) -> None:
    """Train until an epoch, counted from 0, ends with an error."""
    with monkeypatch.context() as patched:
        original = Validation._smoothed

        def fail(validation: Validation, max_epochs: int | None) -> float:
            if len(validation.epochs) > epoch:
                raise MemoryError
            return original(validation, max_epochs)

        patched.setattr(Validation, "_smoothed", fail)
        assert inferno("train", *arguments).code != 0


@pytest.mark.slow
def test_after_an_error_too_and_another_seed_or_changed_data_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One observed event less: neither the path of the file nor the configuration says so."""
    monkeypatch.setattr(partial, "SHARE", math.inf)
    config = own_analysis(tmp_path)
    point = ("--config-dir", str(config), "+experiment=mine", *QUICK, *FIT_ONLY_MU, "trainer.threads=1")
    arguments = (*point, f"hydra.run.dir={tmp_path}/run")

    until(monkeypatch, 2, *arguments)
    assert "training: goes on behind epoch 2" in succeed("train", *arguments).out

    anew = f"training: begins anew, as {tmp_path}/run/partial/best.ckpt is of another configuration, of other data"
    until(monkeypatch, 2, *arguments, "overwrite=true")
    seeded = succeed("train", *arguments, "seed=2")
    assert anew in seeded.out
    assert comparable(seeded.results) == comparable(
        succeed("train", *point, "seed=2", f"hydra.run.dir={tmp_path}/seeded").results
    )
    until(monkeypatch, 2, *arguments, "overwrite=true")
    changed = trees()
    changed["Data"] = {name: values[1:] for name, values in changed["Data"].items()}
    write(tmp_path / "mine.root", changed)
    assert anew in succeed("train", *arguments).out
