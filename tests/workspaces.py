"""Workspaces of pyhf, random ones of every kind of modifier and one as experiments publish them."""

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


def _histosys(name: str, data: list[float], tilt: float) -> dict[str, Any]:
    factor = 1 + tilt * np.linspace(-1, 1, len(data))
    return {
        "name": name,
        "type": "histosys",
        "data": {"hi_data": list(np.array(data) * factor), "lo_data": list(np.array(data) * (2 - 0.9 * factor))},
    }


def _normsys(name: str, size: float) -> dict[str, Any]:
    return {"name": name, "type": "normsys", "data": {"hi": 1 + size, "lo": 1 - 0.8 * size}}


def _factor(name: str) -> dict[str, Any]:
    return {"name": name, "type": "normfactor", "data": None}


def published() -> dict[str, Any]:
    """Two signal regions and a control region, 31 parameters, with every type of modifier."""
    lumi = {"name": "lumi", "type": "lumi", "data": None}
    signal = {"SR1": [2.0, 5.0, 9.0, 12.0], "SR2": [4.0, 9.0, 6.0], "CR": [0.5, 1.0]}
    top = {"SR1": [80.0, 50.0, 30.0, 15.0], "SR2": [60.0, 40.0, 20.0], "CR": [300.0, 200.0]}
    fakes = {"SR1": [20.0, 12.0, 8.0, 5.0], "SR2": [15.0, 8.0, 6.0], "CR": [30.0, 25.0]}
    rare = {"SR1": [5.0, 4.0, 3.0, 2.0], "SR2": [4.0, 3.0, 2.0], "CR": [6.0, 5.0]}
    observed = {"SR1": [112.0, 74.0, 55.0, 29.0], "SR2": [79.0, 66.0, 31.0], "CR": [345.0, 224.0]}
    channels = []
    for name in signal:
        # One gamma per bin for signal, top and rare processes together.
        staterror = [
            {"name": f"staterror_{name}", "type": "staterror", "data": list(size * np.array(data[name]))}
            for size, data in ((0.05, signal), (0.03, top), (0.2, rare))
        ]
        channels.append(
            {
                "name": name,
                "samples": [
                    {
                        "name": "signal",
                        "data": signal[name],
                        "modifiers": [
                            _factor("mu_SIG"),
                            lumi,
                            _normsys("theory_sig", 0.1),
                            _normsys("JES", 0.04),
                            _histosys("JES", signal[name], 0.05),
                            staterror[0],
                        ],
                    },
                    {
                        "name": "top",
                        "data": top[name],
                        "modifiers": [
                            _factor("norm_top"),
                            _normsys("JES", 0.03),
                            _histosys("JES", top[name], -0.08),
                            _histosys("top_model", top[name], 0.06),
                            _normsys("btag", 0.05),
                            staterror[1],
                        ],
                    },
                    {
                        "name": "fakes",
                        "data": fakes[name],
                        "modifiers": [
                            {"name": f"fakes_{name}", "type": "shapesys", "data": list(0.2 * np.array(fakes[name]))},
                            _normsys("fake_rate", 0.15),
                        ],
                    },
                    {
                        "name": "rare",
                        "data": rare[name],
                        "modifiers": [
                            lumi,
                            _normsys("xsec_rare", 0.3),
                            _normsys("dead", 0.1),
                            _histosys("JER", rare[name], 0.07),
                            staterror[2],
                        ],
                    },
                ],
            }
        )
    # A background whose shape comes from the data.
    channels.append(
        {
            "name": "VR",
            "samples": [
                {
                    "name": "multijet",
                    "data": [40.0, 30.0],
                    "modifiers": [{"name": "shape_VR", "type": "shapefactor", "data": None}],
                },
                {"name": "top", "data": [10.0, 5.0], "modifiers": [_factor("norm_top"), _normsys("btag", 0.05)]},
            ],
        }
    )
    observed["VR"] = [57.0, 31.0]
    parameters = [
        {"name": "mu_SIG", "inits": [1.0], "bounds": [[0.0, 10.0]]},
        {"name": "norm_top", "inits": [1.0], "bounds": [[0.2, 5.0]]},
        {"name": "lumi", "inits": [1.0], "bounds": [[0.9, 1.1]], "auxdata": [1.0], "sigmas": [0.017]},
        {"name": "dead", "inits": [0.0], "bounds": [[-5.0, 5.0]], "fixed": True},
    ]
    return {
        "channels": channels,
        "observations": [{"name": name, "data": data} for name, data in observed.items()],
        "measurements": [
            {"name": "background", "config": {"poi": "norm_top", "parameters": parameters}},
            {"name": "signal", "config": {"poi": "mu_SIG", "parameters": parameters}},
        ],
        "version": "1.0.0",
    }


def counting(observed: float) -> dict[str, Any]:
    """A workspace of one bin."""
    signal = {"name": "signal", "data": [10.0], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]}
    background = {"name": "background", "data": [50.0], "modifiers": []}
    return {
        "channels": [{"name": "SR", "samples": [signal, background]}],
        "observations": [{"name": "SR", "data": [observed]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }
