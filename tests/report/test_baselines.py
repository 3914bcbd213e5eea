"""Figures of made-up records against stored pictures, and what their texts and patches say.

    python tests/report/test_baselines.py       # renews the pictures in tests/report/baselines: look at them

The pictures have no text, whose letters differ between versions of FreeType: what is written is asserted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pytest

from inferno_cli.drawing import stack
from inferno_cli.drawing.presentation import ChannelAxis, Presentation
from inferno_cli.drawing.stack import BACKGROUND_COLOURS, REST_COLOUR, SIGNAL_COLOURS, Layers, signal_factor
from inferno_cli.drawing.style import STYLE, Canvas
from inferno_cli.events.description import Histogram
from inferno_cli.events.sample import NOMINAL, Variation
from inferno_cli.fit.quantities.ranking import Impact, RankingQuantity
from inferno_cli.fit.quantities.yields import Yields, YieldsQuantity
from inferno_cli.fit.result import FitResult, Parameter
from inferno_cli.histograms.templates import Templates
from inferno_cli.report.dataset import page
from inferno_cli.report.network import figures as network
from inferno_cli.report.run import figures as run
from inferno_cli.runs.explanation import BinComposition, Explanation

FOLDER = Path(__file__).parent / "baselines"
DPI = 40
TOLERANCE = 3.0
"""Root mean square of the differences of colour, 0 to 255: 0 with matplotlib 3.9 and 3.11, from 4.5 on where a band,
a line or the order of colours is another one."""
LABEL = "simulated stand-in, not CMS data"
SHOWN = Presentation(
    experiment="CMS",
    status="Simulation",
    luminosity=r"59.8 fb$^{-1}$ (13 TeV)",
    titles={"TT": r"$t\bar{t}$", "ggH": r"$H\to\tau\tau$"},
    groups={"Diboson": ("WW", "WZ")},
)
CANVAS = Canvas(LABEL, "INFERNO on htt", SHOWN)
SAMPLES = {
    "ggH": np.array([1.0, 2, 4, 9, 14, 18]),
    "ZTT": np.array([300.0, 210, 150, 90, 60, 40]),
    "TT": np.array([80.0, 70, 60, 50, 40, 35]),
    "WW": np.array([12.0, 11, 10, 9, 8, 7]),
    "WZ": np.array([6.0, 5, 5, 4, 4, 3]),
    "absent": np.zeros(6),
}
TOTAL = np.sum(list(SAMPLES.values()), axis=0)
DATA = TOTAL * [1.03, 0.95, 1.02, 1.1, 0.9, 1.3]
DRAWN = [r"$H\to\tau\tau$", "ZTT", r"$t\bar{t}$", "Diboson"]
LEGEND = [*DRAWN, "uncertainty", r"$H\to\tau\tau$ $\times$ 10"]


def channel(name: str, samples: dict[str, np.ndarray], data: np.ndarray) -> Yields:
    total = np.sum(list(samples.values()), axis=0)
    return Yields(
        channel=name,
        when="pre-fit",
        samples={key: tuple(values) for key, values in samples.items()},
        errors={key: tuple(0.1 * values) for key, values in samples.items()},
        total_error=tuple(0.08 * total),
        sums={key: (float(values.sum()), 1.0) for key, values in samples.items()},
        total=(float(total.sum()), 10.0),
        data=tuple(data),
        signal=("ggH",) if "ggH" in samples else (),
    )


def fit() -> FitResult:
    def parameter(pull: float, constraint: float) -> Parameter:
        return Parameter(
            bestfit=pull, hesse=constraint, pull=pull, constraint=constraint, kind="nuisance", is_constrained=True
        )

    mu = Parameter(bestfit=1.1, hesse=0.3, kind="poi", is_constrained=False)
    parameters = {"mu": mu, "jes": parameter(0.3, 0.6), "lumi": parameter(-0.2, 0.99)}
    return FitResult(data="observed", poi="mu", parameters=parameters, correlation={})


def of_yields(*entries: Yields) -> Any:
    return next(YieldsQuantity.figures("yields", entries, fit(), CANVAS))[1]


def prefit() -> Any:
    return of_yields(channel("SR", SAMPLES, DATA))


def prefit_grid() -> Any:
    control = {"TT": np.array([500.0, 300.0]), "ZTT": np.array([50.0, 20.0])}
    # The last point is three times the prediction: beyond the axis of the ratio.
    low = {name: values[:4] for name, values in SAMPLES.items()}
    return of_yields(
        channel("SR", SAMPLES, DATA),
        channel("CR", control, np.array([560.0, 310.0])),
        channel("low", low, TOTAL[:4] * [1.0, 1.1, 0.9, 3.0]),
    )


def templates() -> Any:
    def histogram(values: np.ndarray) -> hist.Hist:
        result = hist.Hist(hist.axis.Integer(0, 6, flow=False), storage=hist.storage.Weight())
        result[...] = np.stack([values, (0.06 * values) ** 2], axis=-1)
        return result

    tilt = np.linspace(-0.3, 0.3, 6)
    histograms = {(name, NOMINAL): histogram(values) for name, values in SAMPLES.items() if name != "absent"}
    for name, size in (("ggH", 1.0), ("ZTT", 0.5)):
        histograms[name, Variation("jes", "up")] = histogram(SAMPLES[name] * (1 + size * tilt))
        histograms[name, Variation("jes", "down")] = histogram(SAMPLES[name] * (1 - size * tilt))
    names = tuple(name for name in SAMPLES if name != "absent")
    item = Templates(names, ("ggH",), histograms, {}, None, tuple((i,) for i in range(6)))
    return run._templates(CANVAS, "SR", item, run._layers([item], SHOWN))


def control_integers() -> Any:
    """Draw a feature of integers, of which the first two are masked and some are beyond the axis."""
    observed = np.where(np.arange(6) < 2, np.nan, DATA)
    mask = np.isnan(observed)
    histogram = Histogram(
        "nJets", np.arange(7) - 0.5, SAMPLES, 0.1 * TOTAL, observed, mask, r"$N_{jets}$", (False, True), 120.0
    )
    return page._control(CANVAS, histogram, layers())


def control_wide() -> Any:
    """Draw bins that differ by more than two orders: a logarithmic axis."""
    fall = np.array([1.0, 0.3, 0.1, 0.03, 0.01, 0.003])
    samples = {name: values * fall for name, values in SAMPLES.items()}
    error = 0.2 * np.sum(list(samples.values()), axis=0)
    return page._control(CANVAS, Histogram("m", np.linspace(0, 300, 7), samples, error, None), layers())


def explained(*channels: str) -> Explanation:
    bins = []
    for name in channels:
        for number, total in enumerate(TOTAL):
            samples = {name: (float(values[number]), 1.0) for name, values in SAMPLES.items()}
            whole = (float(total), float(total) ** 0.5)
            bins.append(BinComposition(channel=name, merged_from=(number,), samples=samples, total=whole))
    return Explanation(
        run="here", model="inferno", model_title="INFERNO", dataset="htt", label=LABEL, dataset_checksum="",
        code_version="", seed=1, repeats=1, sigma_mu=0.3, importance=(), bins=tuple(bins), responses=(),
    )  # fmt: skip


def composition() -> Any:
    explanation = explained("SR")
    return network._composition(CANVAS, explanation, network._layers(explanation, ["ggH"], SHOWN))


def ranking() -> Any:
    impacts = (Impact("jes", (-0.2, 0.19), (-0.12, 0.13)), Impact("lumi", (0.03, -0.03), (0.03, -0.03)))
    return next(RankingQuantity.figures("ranking", impacts, fit(), CANVAS))[1]


def layers() -> Layers:
    return Layers.choose({name: float(values.sum()) for name, values in SAMPLES.items()}, {"ggH"}, SHOWN)


FIGURES: dict[str, Callable[[], Any]] = {
    function.__name__: function
    for function in (prefit, prefit_grid, templates, control_integers, control_wide, composition, ranking)
}


def save(draw: Callable[[], Any], path: Path) -> None:
    """Draw small, without texts and legends, and with the panels in a place that does not depend on them."""
    import matplotlib.style
    from matplotlib.legend import Legend
    from matplotlib.text import Text

    with matplotlib.style.context(["default", STYLE, {"figure.dpi": DPI}]):
        figure = draw()
        figure.set_layout_engine("none")
        for artist in (*figure.findobj(Text), *figure.findobj(Legend)):
            artist.set_visible(False)
        figure.savefig(path)


def difference(name: str, draw: Callable[[], Any], folder: Path) -> str | None:
    from matplotlib.testing.compare import compare_images

    save(draw, folder / f"{name}.png")
    return compare_images(str(FOLDER / f"{name}.png"), str(folder / f"{name}.png"), TOLERANCE)


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    """Draw as ``save_figures`` does."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]):
        yield


@pytest.mark.parametrize("name", FIGURES)
def test_figures_look_as_stored(name: str, tmp_path: Path) -> None:
    assert difference(name, FIGURES[name], tmp_path) is None


def test_every_picture_is_of_a_figure_and_small() -> None:
    assert {path.stem for path in FOLDER.glob("*.png")} == set(FIGURES)
    assert max(path.stat().st_size for path in FOLDER.glob("*.png")) < 30_000


# ----------------------------------------------------------------------------- the pictures show what goes wrong
def test_another_order_of_colours_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "BACKGROUND_COLOURS", BACKGROUND_COLOURS[::-1])
    for name in ("prefit", "prefit_grid", "templates", "control_integers", "control_wide", "composition"):
        assert difference(name, FIGURES[name], tmp_path) is not None


def test_a_missing_band_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "draw_band", lambda *_: None)
    for name in ("prefit", "prefit_grid", "control_integers", "control_wide"):
        assert difference(name, FIGURES[name], tmp_path) is not None


def test_a_missing_line_of_the_signal_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "draw_signal", lambda *_: np.zeros(1))
    assert difference("prefit", prefit, tmp_path) is not None


# ------------------------------------------------------------------------------------------------- what is written
def texts(figure: Any) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def legend(item: Any) -> list[str]:
    (found,) = item.legends if hasattr(item, "legends") else [item.get_legend()]
    return [text.get_text() for text in found.get_texts()]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_whose_it_is_and_keeps_the_label_of_the_data(name: str) -> None:
    written = texts(FIGURES[name]())
    for expected in ("CMS", "Simulation", r"59.8 fb$^{-1}$ (13 TeV)", LABEL, "INFERNO on htt"):
        assert expected in written


def test_texts_at_the_top_end_within_the_figure() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for width in (3.2, 6.4):
        figure = CANVAS.figure(width=width)
        renderer = FigureCanvasAgg(figure).get_renderer()
        boxes = [text.get_window_extent(renderer) for text in figure.texts]
        assert max(box.x1 for box in boxes) <= figure.bbox.x1
        experiment, status, luminosity, *_ = boxes
        assert experiment.x1 < status.x0 < status.x1 < luminosity.x0


def test_without_a_word_of_the_configuration_the_label_and_the_title_stand_alone() -> None:
    assert [text.get_text() for text in Canvas(LABEL, "a title").figure().texts] == [LABEL, "a title"]
    assert [text.get_text() for text in Canvas("", "a title").figure().texts] == ["a title"]


def test_the_legend_is_in_the_order_of_the_stack_without_absent_samples() -> None:
    upper, lower = prefit().axes
    assert legend(upper) == [*LEGEND, "observed data"]
    assert upper.get_title(loc="left") == "pre-fit, SR"
    assert (upper.get_ylabel(), lower.get_ylabel(), lower.get_xlabel()) == ("events", "data / pred.", "bin")


def test_a_layer_is_one_polygon_without_a_seam() -> None:
    from matplotlib.patches import StepPatch

    upper, _ = prefit().axes
    patches = [patch for patch in upper.patches if isinstance(patch, StepPatch)]
    filled = [patch for patch in patches if patch.get_fill() and not patch.get_hatch()]
    assert [patch.get_label() for patch in filled] == DRAWN
    heights = [patch.get_data().values for patch in filled]
    np.testing.assert_allclose(heights[0], TOTAL)
    np.testing.assert_allclose(heights[-1], SAMPLES["WW"] + SAMPLES["WZ"])
    # Each reaches down to 0 below those that are drawn after it, over it.
    assert all(np.all(patch.get_data().baseline == 0) for patch in filled)
    # The outline of the sum, the band, the line of the signal.
    assert len(patches) == len(filled) + 3


def test_channels_share_one_legend_and_a_point_beyond_the_axis_is_marked() -> None:
    figure = prefit_grid()
    assert legend(figure) == [*LEGEND, "observed data"]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title for title in titles if title] == ["pre-fit, SR", "pre-fit, CR", "pre-fit, low"]
    arrows = {axes: [line for line in axes.get_lines() if line.get_marker() == "^"] for axes in figure.axes}
    (marked,) = [axes for axes, found in arrows.items() if found]
    (arrow,) = arrows[marked]
    assert arrow.get_xdata().tolist() == [3]
    assert arrow.get_ydata().tolist() == [marked.get_ylim()[1]]


def test_of_many_channels_the_first_are_in_one_figure_and_it_is_said() -> None:
    entries = tuple(channel(f"c{i}", SAMPLES, DATA) for i in range(13))
    figures = dict(YieldsQuantity.figures("yields", entries, fit(), CANVAS))
    assert list(figures) == ["prefit", *(f"prefit_c{i}" for i in range(13))]
    assert len(figures["prefit"].axes) == 2 * 12
    assert "INFERNO on htt; the first 12 of 13 channels" in texts(figures["prefit"])


def test_integers_have_bins_and_ticks_of_their_own_and_all_that_is_not_drawn_is_said() -> None:
    upper, lower = control_integers().axes
    assert lower.get_xticks().tolist() == [0, 1, 2, 3, 4, 5]
    assert lower.get_xlabel() == r"$N_{jets}$ (last bin: all above)"
    share = 120 / (120 + TOTAL.sum())
    expected = f"uncertainty: simulated events; grey: observed events masked; without a value, not drawn: {share:.1%}"
    assert upper.get_title(loc="left") == expected


def test_a_wide_range_is_logarithmic_with_the_signal_as_it_is() -> None:
    upper, lower = control_wide().axes
    assert upper.get_yscale() == "log"
    assert legend(upper) == [*DRAWN, "uncertainty"]
    assert lower.get_xlabel() == "m"


def test_a_channel_that_is_a_histogram_is_drawn_between_its_edges() -> None:
    edges = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0, 200.0)
    shown = replace(SHOWN, axes={"CR": ChannelAxis(edges, r"$m_{vis}$ [GeV]")})
    entries = [channel(name, SAMPLES, DATA) for name in ("SR", "CR")]
    grid, sr, cr = (
        figure for _, figure in YieldsQuantity.figures("yields", entries, fit(), replace(CANVAS, presentation=shown))
    )
    assert [axes.get_xlabel() for axes in grid.axes if axes.get_xlabel()] == ["bin", r"$m_{vis}$ [GeV]"]
    assert [axes.get_ylabel() for axes in (*sr.axes, *cr.axes)] == [
        "events",
        "data / pred.",
        "events / bin",  # of unequal width
        "data / pred.",
    ]
    outline = next(patch for patch in cr.axes[0].patches if patch.get_fill())
    assert outline.get_data().edges.tolist() == list(edges)
    assert cr.axes[1].get_xlim() == (0.0, 200.0)


def test_what_a_network_learnt_is_shown_in_every_channel_as_the_configuration_says() -> None:
    drawn = dict(network.figures(explained("SR", "CR"), (), (), ["ggH"], shown=SHOWN))
    assert list(drawn) == ["importance", "composition_SR", "composition_CR"]
    for figure in drawn.values():
        assert {"CMS", "Simulation", LABEL} <= {text.get_text() for text in figure.texts}
    assert legend(drawn["composition_CR"]) == DRAWN
    assert "INFERNO on htt, template split, CR" in texts(drawn["composition_CR"])


def test_templates_say_their_channel_and_sample() -> None:
    figure = templates()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["SR: templates as fitted; uncertainty: simulated events", r"$H\to\tau\tau$", "ZTT"]
    assert legend(figure) == ["jes", "up", "down"]


# ---------------------------------------------------------------------------------------------------- the layers
def test_colours_that_are_given_are_no_other_layers() -> None:
    shown = Presentation(colours={"ZTT": BACKGROUND_COLOURS[0], "WW": "black"})
    yields = {"ggH": 1.0, "qqH": 2.0, "ZTT": 9.0, "TT": 8.0, "WW": 1.0}
    found = Layers.choose(yields, {"ggH", "qqH"}, shown)
    assert dict(found.colours) == {
        "WW": "black",
        "TT": BACKGROUND_COLOURS[1],
        "ZTT": BACKGROUND_COLOURS[0],
        "ggH": SIGNAL_COLOURS[0],
        "qqH": SIGNAL_COLOURS[1],
    }
    assert list(found.colours) == ["WW", "TT", "ZTT", "ggH", "qqH"]  # signals on top, also the smaller ones
    assert found.signal == {"ggH", "qqH"}


def test_small_samples_are_one_layer_and_free_shapes_are_in_that_of_their_sample() -> None:
    yields = {"other": 1e4, **{f"b{i}": 100.0 - i for i in range(9)}, "signal": 1.0}
    found = Layers.choose(yields, {"signal"})
    assert [name for name, colour in found.colours.items() if colour == REST_COLOUR] == ["(other)"]
    assert {name for name, layer in found.of.items() if layer == "(other)"} == {"b6", "b7", "b8"}
    rows = {"signal": np.ones(2), "b0": np.array([5.0, 6]), "b0@jes": np.array([-1.0, 1]), "b8": np.ones(2)}
    drawn = found.stack({**rows, "b7": np.ones(2), "b1": np.zeros(2)}, {"b0@jes": "b0"})
    assert list(drawn) == ["b0", "(other)", "signal"]
    assert {name: values.tolist() for name, values in drawn.items()} == {
        "b0": [4, 7],
        "(other)": [2, 2],
        "signal": [1, 1],
    }


def test_without_a_known_signal_nothing_is_red() -> None:
    found = Layers.choose({"a": 1.0, "b": 2.0}, set())
    assert not set(found.colours.values()) & set(SIGNAL_COLOURS)


@pytest.mark.parametrize(("signal", "factor"), [(30.0, 1), (24.0, 2), (10.0, 5), (2.3, 20), (0.001, 1000), (0.0, 1)])
def test_a_small_signal_is_multiplied_to_at_most_half_of_the_stack(signal: float, factor: int) -> None:
    rows = {"b": np.array([100.0 - signal, 1.0]), "s": np.array([signal, 0.0])}
    assert signal_factor(rows, {"s"}) == factor


def rendered() -> Iterator[Path]:
    FOLDER.mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        save(draw, FOLDER / f"{name}.png")
        yield FOLDER / f"{name}.png"


if __name__ == "__main__":
    import sys

    sys.stdout.writelines(f"{path}: {path.stat().st_size} bytes\n" for path in rendered())
