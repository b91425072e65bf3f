"""The table a report begins with: before, after, change and interval; per UE for deliveries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from analysis.metrics.figures import Figure, Floats, frames_of_window, window_figures
from analysis.metrics.intervals import of_frames, of_shares
from analysis.metrics.measure import Measured, MeasuredPipeline
from analysis.report.repeated import StepDownloads
from analysis.summary.control import ControlMode
from analysis.summary.pipeline import Window
from analysis.summary.section import Accuracy
from analysis.wording import (
    MISSING,
    Interval,
    compared,
    counted,
    number,
    percent,
    points,
    signed,
)

ROWS = 10
"""Rows of deliveries shown at the top; the tables below have all."""


Quantity = Literal["bytes", "ms on the wire", "ms", "rate", "accuracy"]


@dataclass(frozen=True)
class HeadlineRow:
    """One figure before and after compression; ``interval``, 95 %, is of ``after - before``.

    An accuracy is a share, and its change in percentage points; other changes are in per cent.
    """

    quantity: Quantity
    figure: str
    before: float
    after: float
    interval: Interval | None
    digits: int

    @property
    def is_share(self) -> bool:
        """Return True if the figure is a share, shown in per cent."""
        return self.quantity == "accuracy"

    def shown(self, value: float) -> str:
        """Write one of the two figures."""
        return percent(value, self.digits) if self.is_share else number(value, self.digits)

    @property
    def change(self) -> str:
        """The change with its sign and unit."""
        if not self._scale:
            return MISSING
        return f"{signed(self._scale * (self.after - self.before), 1)}{self._unit}"

    @property
    def bounds(self) -> str:
        """The interval of the change, in its unit."""
        if self.interval is None or not self._scale:
            return MISSING
        low, high = (signed(self._scale * bound, 1) for bound in self.interval)
        return f"{low} to {high}"

    @property
    def in_words(self) -> str:
        """The change in words, the same where it lies within its interval."""
        if self.is_share:
            return points(self.before, self.after, self.interval)
        return compared(self.before, self.after, self.interval)

    @property
    def _scale(self) -> float:
        if self.is_share:
            return 100
        return 100 / self.before if self.before else 0

    @property
    def _unit(self) -> str:
        return " points" if self.is_share else "\u00a0%"


@dataclass(frozen=True)
class DeliveryRow:
    """The downloads of one step of a UE, in words."""

    who: str
    downloads: str
    in_time: str
    median_ms: str
    spread_ms: str
    excess: str
    useful: str
    changed: bool


@dataclass(frozen=True)
class ModeRow:
    """One mode of control, in words."""

    mode: str
    within: str
    accuracy: str
    latency_ms: str
    wire_bytes: str
    switches: str


@dataclass(frozen=True)
class Headline:
    """The rows of a split model, or of its modes of control; ``title``: its name among several."""

    title: str
    rows: tuple[HeadlineRow, ...]
    modes: tuple[ModeRow, ...]


def headlines(measured: Measured) -> tuple[Headline, ...]:
    """The headline figures of each split model; empty where none was measured."""
    return tuple(_headline(pipeline) for pipeline in measured.pipelines)


def _headline(pipeline: MeasuredPipeline) -> Headline:
    control = pipeline.figures.control
    if control:
        return Headline(pipeline.title, (), tuple(_mode(mode) for mode in control.modes))
    return Headline(pipeline.title, tuple(_compression(pipeline)), ())


def delivery_rows(steps: Sequence[StepDownloads]) -> tuple[DeliveryRow, ...]:
    """A row per UE and step; the step is named where any UE has several."""
    several = len({step.step for step in steps}) > 1
    return tuple(_delivery(step, several) for step in steps)


def _delivery(step: StepDownloads, several: bool) -> DeliveryRow:
    duration, excess, useful = step.duration_ms, step.excess, step.useful_share
    spread = MISSING
    if duration and duration.count > 1:
        spread = f"{number(duration.least, 1)} to {number(duration.most, 1)}"
    changed = bool(step.links and excess)
    return DeliveryRow(
        who=f"{step.ue}, step {step.step + 1}" if several else step.ue,
        downloads=number(len(step.downloads)),
        in_time=f"{step.met} of {len(step.requests)}" if step.requests else MISSING,
        median_ms=number(duration.median if duration else None, 1),
        spread_ms=spread,
        excess=percent(excess.median if excess else None) + (" *" if changed else ""),
        useful=percent(useful.median if useful else None),
        changed=changed,
    )


def _mode(mode: ControlMode) -> ModeRow:
    return ModeRow(
        mode=mode.mode,
        within=percent(mode.within_share),
        accuracy=percent(mode.accuracy.value if mode.accuracy else None, 2),
        latency_ms=number(mode.latency.median_ms if mode.latency else None, 1),
        wire_bytes=number(sum(mode.wire_bytes) if mode.wire_bytes else None),
        switches=number(mode.switches),
    )


def _compression(measured: MeasuredPipeline) -> list[HeadlineRow]:
    windows = {window.label: window for window in measured.figures.windows}
    before, after = windows.get("before"), windows.get("after")
    if before is None or after is None:
        return []
    figures, rows = measured.figures, []
    if figures.bandwidth_reduction:
        total = figures.bandwidth_reduction.total
        interval = _bytes_interval(measured, before, after)
        name = "wire bytes per inference (Eq. 1)"
        rows.append(HeadlineRow("bytes", name, total.before, total.after, interval, 0))
    if figures.latency_reduction:
        total = figures.latency_reduction.total
        name = "wire ms, sum of medians (Eq. 2)"
        rows.append(HeadlineRow("ms on the wire", name, total.before, total.after, None, 1))
    if before.end_to_end and after.end_to_end:
        a, b = (_named_figures(measured, each)["end to end, median"] for each in (before, after))
        interval = _frames_interval(a, b)
        rows.append(HeadlineRow("ms", "ms end to end, median", a.value, b.value, interval, 1))
    if before.inferences_per_s is not None and after.inferences_per_s is not None:
        rates = (before.inferences_per_s, after.inferences_per_s)
        rows.append(HeadlineRow("rate", "inferences per second", *rates, None, 1))
    return [*rows, _accuracy_row(before.accuracy, after.accuracy)]


def _accuracy_row(before: Accuracy, after: Accuracy) -> HeadlineRow:
    interval = of_shares(before.value, before.images, after.value, after.images)
    name = f"accuracy, {counted(after.images, f'{after.split} image')}"
    return HeadlineRow("accuracy", name, before.value, after.value, interval, 1)


def _named_figures(measured: MeasuredPipeline, window: Window) -> dict[str, Figure]:
    return {figure.name: figure for figure in window_figures(measured, window, "")}


def _frames_interval(before: Figure, after: Figure) -> Interval | None:
    if before.frames is None or after.frames is None:
        return None
    if not len(before.frames) or not len(after.frames):
        return None
    return of_frames(before.frames, after.frames, before.reduce)


def _bytes_interval(measured: MeasuredPipeline, before: Window, after: Window) -> Interval | None:
    """Interval of the bytes per inference, all cuts together, frame by frame."""
    sizes = [_frame_bytes(measured, window) for window in (before, after)]
    if not all(len(each) for each in sizes):
        return None
    return of_frames(sizes[0], sizes[1], "mean")


def _frame_bytes(measured: MeasuredPipeline, window: Window) -> Floats:
    """Bytes on the wire per inference of each frame, all cuts together."""
    sizes = pl.col("wire_bytes").sum() / pl.col("samples").first()
    frames = frames_of_window(measured, window).group_by(
        "generation", "sequence", maintain_order=True
    )
    totals: Floats = frames.agg(size=sizes)["size"].to_numpy()
    return totals
