"""The figures of a run that are worth comparing with another run's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.metrics.measure import Measured, MeasuredPipeline
from analysis.metrics.pipeline.breakdown import PARTS
from analysis.metrics.pipeline.latency import latencies_ns
from analysis.metrics.pipeline.windows import window_frames
from analysis.summary.accordion import DownloadSummary
from analysis.summary.pipeline import Window
from analysis.summary.section import Accuracy, Distribution
from analysis.summary.traffic import CutTraffic
from analysis.wording import counted
from stage_node.records.events import Measurement

Floats = npt.NDArray[np.float64]
Reduce = Literal["median", "mean"]

_KEY = ["generation", "sequence"]


@dataclass(frozen=True)
class Figure:
    """A figure of one run.

    ``frames``: its value for every frame in the order of admission, which ``reduce`` makes the
    figure of. ``images``: how many images it is a share of, in percent.
    """

    section: str
    name: str
    unit: str
    value: float
    frames: Floats | None = None
    reduce: Reduce = "mean"
    images: int | None = None


def run_figures(measured: Measured) -> Iterator[Figure]:
    """Everything of a run that is worth comparing."""
    summary = measured.summary
    for pipeline in measured.pipelines:
        yield from _pipeline_figures(pipeline)
    downloads = summary.accordion.downloads if summary.accordion else ()
    again = {download.ue for download in downloads if download.round}
    asked: dict[str, int] = {}
    for download in (each for each in downloads if each.ue not in again):
        asked[download.ue] = asked.get(download.ue, 0) + 1
        section = f"{download.ue}, download {asked[download.ue]}"
        yield from _download_figures(section, [download])
    for ue, step in sorted({(each.ue, each.step) for each in downloads if each.ue in again}):
        mine = [each for each in downloads if (each.ue, each.step) == (ue, step)]
        section = f"{ue}, step {step + 1}, median of {counted(len(mine), 'download')}"
        yield from _download_figures(section, mine)


def _download_figures(section: str, downloads: Sequence[DownloadSummary]) -> Iterator[Figure]:
    """Figures of one download, or medians over a step that was repeated."""
    sizes = [download.end_byte - download.first_byte for download in downloads]
    yield Figure(section, "duration", "ms", median(each.duration_ms for each in downloads))
    yield Figure(section, "part of the file", "B", median(sizes))
    yield Figure(section, "goodput", "Mbit/s", median(each.goodput_mbit for each in downloads))
    excess = [download.excess for download in downloads if download.excess is not None]
    if excess:
        yield Figure(section, "above the least time", "%", 100 * median(excess))


def _pipeline_figures(measured: MeasuredPipeline) -> Iterator[Figure]:
    whose = f"{measured.title}, " if measured.title else ""
    for window in measured.figures.windows:
        yield from window_figures(measured, window, f"{whose}{window.label} compression")
    control = measured.figures.control
    for mode in control.modes if control else ():
        section = f"{whose}mode {mode.mode}"
        if mode.within_share is not None:
            yield Figure(section, "frames within the bound", "%", 100 * mode.within_share)
        if mode.accuracy:
            yield _accuracy(section, mode.accuracy)
        if mode.latency:
            yield Figure(section, "latency, median", "ms", mode.latency.median_ms)
            yield Figure(section, "latency, 95 %", "ms", mode.latency.p95_ms)


def window_figures(measured: MeasuredPipeline, window: Window, section: str) -> Iterator[Figure]:
    """Figures of one window of a split model, per-frame figures with their frames."""
    frames = frames_of_window(measured, window)
    admitted = measured.run.results.join(frames, on=_KEY, how="semi").sort("t_admitted_ns")
    if window.end_to_end:
        yield _timed(section, "end to end", window.end_to_end, latencies_ns(admitted))
        yield Figure(section, "end to end, 95 %", "ms", window.end_to_end.p95_ms)
    if window.inferences_per_s is not None:
        yield Figure(section, "inferences", "1/s", window.inferences_per_s)
    yield _accuracy(section, window.accuracy)
    for cut in window.cuts:
        yield from _cut_figures(section, frames.filter(pl.col("cut") == cut.cut), cut)
    if window.breakdown:
        spent = measured.latency.inferences.join(frames, on=_KEY, how="semi")
        for part in PARTS:
            name = "waiting for TCP" if part == "transport" else part
            values = spent[f"{part}_ns"].to_numpy() / 1e6
            yield Figure(section, f"of which {name}", "ms", float(values.mean()), values)
    for load in window.loads:
        if load.busy is not None:
            name = f"{load.source} → {load.target} busy"
            yield Figure(section, name, "%", 100 * load.busy)


def _cut_figures(section: str, frames: pl.DataFrame, cut: CutTraffic) -> Iterator[Figure]:
    where = f"{cut.source} → {cut.target}"
    sizes = frames["wire_bytes"].to_numpy() / frames["samples"].to_numpy()
    yield Figure(section, f"{where}, wire bytes", "B/inf.", cut.wire_bytes, sizes)
    if cut.transfer:
        seen = frames.drop_nulls(["t_first_out_ns", "t_delivered_ns"])
        times = (seen["t_delivered_ns"] - seen["t_first_out_ns"]).to_numpy()
        yield _timed(section, f"{where}, on the wire", cut.transfer, times)
    yield Figure(section, f"{where}, sent again", "B", cut.retransmitted_bytes)


def _timed(section: str, name: str, times: Distribution, frames_ns: npt.NDArray[Any]) -> Figure:
    return Figure(
        section, f"{name}, median", "ms", times.median_ms, frames_ns / 1e6, reduce="median"
    )


def _accuracy(section: str, accuracy: Accuracy) -> Figure:
    name = f"accuracy ({accuracy.split})"
    return Figure(section, name, "%", 100 * accuracy.value, images=accuracy.images)


def frames_of_window(measured: MeasuredPipeline, window: Window) -> pl.DataFrame:
    """The joined frames of a window, in the order of admission, cut by cut."""
    event = next(e for e in measured.run.events_of(Measurement) if e.label == window.label)
    return window_frames(measured.run, measured.frames, event).sort("cut", "sequence")
