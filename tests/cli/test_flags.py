"""Flags: divided from the overrides, and none that is not known."""

from __future__ import annotations

import pytest
from integration.conftest import inferno

from inferno_cli.cli.flags import divided
from inferno_cli.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "flags"),
    [
        (("a=1", "-m", "--cfg", "job", "b=2"), ["-m", "--cfg", "job"]),
        (("a=1", "--cfg=job", "b=2", "--resolve"), ["--cfg", "job", "--resolve"]),
        (("a=1", "--shard=1/2", "b=2"), ["--shard", "1/2"]),
        (("a=1", "b=2", "--info"), ["--info"]),
        (("a=1", "b=2", "--workflow"), ["--workflow"]),  # which says itself what it needs
    ],
)
def test_flags_come_first_with_their_values(typed: tuple[str, ...], flags: list[str]) -> None:
    assert divided(typed) == (flags, ["a=1", "b=2"])


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--workflw", "F"), "unknown flag --workflw; closest: '--workflow'"),
        (("--shrad=1/2",), "unknown flag --shrad; closest: '--shard'"),
        (("--multi",), "unknown flag --multi; closest: '--multirun'"),
        (("--dbug",), "unknown flag --dbug; closest: '--debug'"),
        (("--config-dir",), "--config-dir needs a value"),
        (("--config-dir", "-m"), "--config-dir needs a value"),
        (("--config-dir=", "-m"), "--config-dir needs a value"),
        (("--cfg", "jbo"), "--cfg is 'jbo'; closest: 'job'"),
    ],
)
def test_a_flag_that_is_not_known_names_the_nearest(typed: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        divided(("a=1", *typed))
    assert str(caught.value) == said


def test_nothing_near_lists_the_long_ones() -> None:
    with pytest.raises(ConfigError, match=r"^unknown flag --xyz; known: --cfg, .*, --workflow$"):
        divided(("--xyz",))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("train", "-m", "seed=1,2", "--workflw", "F"), "unknown flag --workflw; closest: '--workflow'"),
        (("--hlep",), "unknown flag --hlep; closest: '--help'"),
        (("train", "-m", "--workflow=F", "--workflow", "G"), "--workflow is given 2 times. Leave all but one out"),
        (("-m", "train"), "-m stands before the step; write inferno STEP ... -m"),
    ],
)
def test_it_is_one_error(typed: tuple[str, ...], said: str) -> None:
    outcome = inferno(*typed)
    assert (outcome.code, outcome.err) == (2, f"ConfigError: {said}\n")
