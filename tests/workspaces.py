"""Random pyhf workspaces of every kind of modifier, and what pyhf makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyhf
from hypothesis import strategies as st

SETTINGS = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}


def model_of(content: dict[str, Any], measurement: str | None = None) -> tuple[Any, list[float]]:
    """Return pyhf's model, with the interpolations that we have, and its data."""
    found = pyhf.Workspace(content)
    model = found.model(measurement_name=measurement, modifier_settings=SETTINGS)
    return model, found.data(model)


def _modifier(kind: str, name: str, data: Any = None) -> dict[str, Any]:
    return {"name": name, "type": kind, "data": data}


@dataclass(frozen=True)
class Draw:
    """Draws the parts of a workspace: choices from hypothesis, which shrinks them; numbers from a generator."""

    draw: Any
    rng: np.random.Generator

    def modifiers(self, channel: int, number: int, data: np.ndarray) -> list[dict[str, Any]]:
        """Draw the modifiers of one sample of one channel, each kind or not; names are shared where they may be."""
        rng, n_bins = self.rng, len(data)
        found = []
        for name in self.draw(st.sets(st.sampled_from(["k", "a", "b"]))):  # "a" also of a histosys
            kind = "normfactor" if name == "k" else "normsys"
            size = {"hi": rng.uniform(0.7, 1.5), "lo": rng.uniform(0.6, 1.3)}
            found.append(_modifier(kind, name, None if name == "k" else size))
        for name in self.draw(st.sets(st.sampled_from(["a", "c"]))):
            up, down = data * rng.uniform(0.7, 1.4, (2, n_bins)) + rng.uniform(0, 0.5, (2, n_bins))
            found.append(_modifier("histosys", name, {"hi_data": up.tolist(), "lo_data": down.tolist()}))
        kinds = self.draw(st.sets(st.sampled_from(["lumi", "staterror", "shapesys", "shapefactor"])))
        if "lumi" in kinds:
            found.append(_modifier("lumi", "lumi"))
        if "staterror" in kinds:
            found.append(_modifier("staterror", f"mc_{channel}", (data * rng.uniform(0.02, 0.3, n_bins)).tolist()))
        if "shapesys" in kinds:  # 0 in some bins, where its parameters are constants
            error = data * rng.uniform(0.05, 0.4, n_bins) * (rng.uniform(size=n_bins) < 0.8)
            found.append(_modifier("shapesys", f"error_{channel}_{number}", error.tolist()))
        if "shapefactor" in kinds:
            found.append(_modifier("shapefactor", f"shape_{n_bins}"))
        return found

    def parameters(self) -> list[dict[str, Any]]:
        """Draw what the measurement says of parameters."""
        rng = self.rng
        centre = rng.uniform(0.9, 1.1)
        lumi = {"auxdata": [centre], "sigmas": [rng.uniform(0.01, 0.2)], "inits": [1.0], "bounds": [[0.1, 3.0]]}
        found = [{"name": "lumi"} | lumi, {"name": "mu", "inits": [1.0], "bounds": [[0.0, 10.0]]}]
        for name in self.draw(st.sets(st.sampled_from("abc"))):
            own = self.draw(st.sampled_from(["fixed", "auxdata"]))
            value: Any = True if own == "fixed" else [rng.normal(0, 0.5)]
            found.append({"name": name, own: value, "inits": [rng.normal(0, 0.3)]})
        return found


@st.composite
def workspaces(draw) -> dict[str, Any]:
    """A workspace of up to three channels with modifiers of every kind, some empty bins and constants."""
    parts = Draw(draw, np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    rng = parts.rng
    channels, observations = [], []
    for channel in range(draw(st.integers(1, 3))):
        n_bins = draw(st.integers(1, 4))
        samples = []
        for number in range(draw(st.integers(1, 3))):
            data = rng.uniform(1, 80, n_bins) * (rng.uniform(size=n_bins) < 0.9)
            modifiers = parts.modifiers(channel, number, data)
            if number == 0:
                modifiers.append(_modifier("normfactor", "mu"))
            samples.append({"name": f"sample_{number}", "data": data.tolist(), "modifiers": modifiers})
        samples[0]["data"] = [max(value, 0.5) for value in samples[0]["data"]]  # every bin expects some
        total = np.sum([sample["data"] for sample in samples], axis=0)
        channels.append({"name": f"channel_{channel}", "samples": samples})
        observations.append({"name": f"channel_{channel}", "data": rng.poisson(total).astype(float).tolist()})
    measurement = {"name": "m", "config": {"poi": "mu", "parameters": parts.parameters()}}
    return {"version": "1.0.0", "channels": channels, "observations": observations, "measurements": [measurement]}


def random_point(model: Any, rng: np.random.Generator) -> np.ndarray:
    """Parameters away from their start: pulls beyond one sigma too, factors and gammas above 0."""
    point = np.array(model.config.suggested_init(), dtype=float)
    for name in model.config.par_order:
        place = model.config.par_slice(name)
        known = model.config.param_set(name)
        is_pull = known.constrained and known.pdf_type == "normal" and known.suggested_init[0] < 0.9
        n = known.n_parameters
        point[place] = rng.normal(0, 1.2, n) if is_pull else rng.uniform(0.3, 1.8, n)
    return point
