"""Plots: one colour a UE, no legend over data, deadlines that do not squeeze, titles in words."""

import polars as pl
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.metrics.delivery.downloads import DELIVERY_SCHEMA
from analysis.metrics.links.sequence import SEQUENCE_SCHEMA
from analysis.metrics.links.sharing import SHARING_SCHEMA
from analysis.plots import style
from analysis.plots.figures.accordion import ACCURACY_SCHEMA, plot_accordion
from analysis.plots.figures.downloads import DOWNLOADS_SCHEMA, plot_downloads
from analysis.plots.figures.sharing import plot_sharing
from analysis.plots.figures.time_sequence import plot_time_sequence
from analysis.plots.gallery import plots
from analysis.plots.palette import NO_UES, Palette
from analysis.sweep.figure_words import figure_title, figure_unit, parameter_words
from tests.analysis.conftest import Known

UES = Palette(("phone", "car", "home"))
DEADLINES = {"ue": pl.String, "model": pl.String, "t_s": pl.Float64}


def delivered(ues: tuple[str, ...]) -> tuple[pl.DataFrame, pl.DataFrame]:
    accuracy = [(ue, "m", "3-3-3", 100, 0.9, 0.8, "test") for ue in ues]
    arrived = [(ue, "m", t_s, int(100 * t_s)) for ue in ues for t_s in (0.0, 0.5, 1.0)]
    return (
        pl.DataFrame(accuracy, ACCURACY_SCHEMA, orient="row"),
        pl.DataFrame(arrived, DELIVERY_SCHEMA, orient="row"),
    )


def legends_are_apart(figure: Figure) -> bool:
    """No legend reaches into its axes."""
    engine = figure.get_layout_engine()
    assert engine
    engine.execute(figure)
    renderer = figure._get_renderer()  # type: ignore[attr-defined]
    for axes in figure.axes:
        legend = axes.get_legend()
        if legend is None:
            continue
        box, inside = legend.get_window_extent(renderer), axes.get_window_extent(renderer)
        if min(box.x1, inside.x1) - max(box.x0, inside.x0) > 2 and (
            min(box.y1, inside.y1) - max(box.y0, inside.y0) > 2
        ):
            return False
    return True


def test_a_ue_has_one_colour_whatever_the_order_it_comes_in() -> None:
    accuracy, arrived = delivered(("home", "phone", "car"))
    figure = plot_accordion(accuracy, arrived, pl.DataFrame(schema=DEADLINES), UES)
    drawn = {
        line.get_label(): to_hex(str(line.get_color())).upper() for line in figure.axes[1].lines
    }
    shared = pl.DataFrame(
        [("l", "a_to_b", "server → s1", f"server → {ue}", 0.0, 1.0)
         for ue in ("car", "home", "phone")],
        SHARING_SCHEMA, orient="row",
    )  # fmt: skip
    nothing = pl.DataFrame(schema={"link": pl.String, "direction": pl.String, "mbit": pl.Float64})
    patches = plot_sharing(shared, nothing, UES).axes[0].patches
    stacked = {patch.get_label(): to_hex(patch.get_facecolor()).upper() for patch in patches}
    for ue in UES.ues:
        assert drawn[ue] == stacked[f"server → {ue}"] == UES.ue(ue)
        assert UES.pair(f"download 1: server → {ue}", 4) == UES.ue(ue)
        assert UES.direction(f"{ue} → s1", 0) == UES.direction(f"s1 → {ue}", 1) == UES.ue(ue)
    taken = {UES.ue(ue) for ue in UES.ues}
    others = {UES.pair("edge → cloud", n) for n in range(3)} | {UES.direction("a → b", 0)}
    assert not taken & others
    assert style.RED not in style.COLOURS


def test_what_was_sent_again_is_told_from_what_was_sent_by_colour_and_mark() -> None:
    table = pl.DataFrame(
        [(0.0, "sent", 0, 100), (1.0, "received", 0, 100), (2.0, "retransmitted", 0, 100)],
        SEQUENCE_SCHEMA, orient="row",
    )  # fmt: skip
    figure = plot_time_sequence(table, "t", "s", {"3-3-3": 100})
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    assert lines["sent again"].get_markeredgecolor() == style.RED
    assert len({lines[n].get_marker() for n in ("sent", "received", "sent again")}) == 3
    assert lines["sent again"].get_zorder() > lines["sent"].get_zorder()
    assert legends_are_apart(figure)


@pytest.mark.parametrize("deadline_s", [1.2, 60.0])
@pytest.mark.parametrize("ues", [("phone",), ("phone", "car")])
def test_a_far_deadline_does_not_squeeze_the_download(
    deadline_s: float, ues: tuple[str, ...]
) -> None:
    deadlines = pl.DataFrame([(ue, "m", deadline_s) for ue in ues], DEADLINES, orient="row")
    figure = plot_accordion(*delivered(ues), deadlines, UES)
    assert figure.axes[0].get_xlim()[1] < 1.5
    legend = figure.axes[0].get_legend()
    said = [text.get_text() for text in legend.get_texts()] if legend else []
    assert any("deadline 60 s,\nbeyond the axis" in text for text in said) == (deadline_s == 60)
    assert legends_are_apart(figure)


def test_every_repeated_download_is_drawn_with_the_median() -> None:
    rows = [("phone", "phone", n + 1, 100.0 + n, 5000.0) for n in range(5)]
    figure = plot_downloads(pl.DataFrame(rows, DOWNLOADS_SCHEMA, orient="row"), UES)
    (axes,) = figure.axes
    (dots,) = axes.collections
    assert sorted(x for x, _ in dots.get_offsets()) == [100, 101, 102, 103, 104]  # type: ignore[misc]
    assert axes.get_yticklabels()[0].get_text() == "phone: 102.0 ms\ndeadline 5000 ms"
    assert axes.get_xlim()[1] < 150


def test_no_legend_of_a_report_hides_data(known: Known) -> None:
    for plot in plots(known.measured):
        assert legends_are_apart(plot.figure), plot.name


@pytest.mark.parametrize(
    ("column", "title", "unit"),
    [
        (
            "pipeline.windows.before.end_to_end.median_ms",
            "Before compression, end to end: median",
            "ms",
        ),
        ("pipeline.windows.after.inferences_per_s", "After compression: inferences", "per second"),
        ("accordion.downloads.ue.0.0.1.duration_ms", "ue, round 1, step 1: time of the download",
         "ms"),
        ("accordion.ues.ue1.lookup.met_share", "ue1, lookup: answered within the deadline",
         "share, 0 to 1"),
        ("captured_packets", "Captured packets", "captured packets"),
    ],
)  # fmt: skip
def test_figures_of_a_sweep_are_called_by_words(column: str, title: str, unit: str) -> None:
    assert (figure_title(column), figure_unit(column)) == (title, unit)


def test_parameters_of_a_sweep_are_called_by_words() -> None:
    assert parameter_words("network.access.rate_mbit") == "access: rate, Mbit/s"
    assert parameter_words("rate_mbit") == "rate, Mbit/s"
    assert parameter_words("pipeline.window") == "pipeline: window"


def test_a_run_without_ues_keeps_the_colours_of_directions() -> None:
    assert NO_UES.direction("a → b", 0) != NO_UES.direction("b → a", 1)
