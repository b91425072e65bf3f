"""The ladder for people: a table of plain text cells that any front end can draw."""

from dataclasses import dataclass

from controller.ladder import Ladder, LadderTable

COLUMNS = (
    "rung",
    "bytes per inference",
    "times fewer",
    "accuracy %",
    "points lost",
    "encode ms",
    "decode ms",
)


@dataclass(frozen=True)
class CutTable:
    """The ladder of one cut: a title and rows of as many cells as ``COLUMNS``."""

    title: str
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class RenderedLadder:
    """The tables of all cuts, and below them what they were measured from."""

    columns: tuple[str, ...]
    cuts: tuple[CutTable, ...]
    notes: tuple[str, ...]


def render(table: LadderTable) -> RenderedLadder:
    """Cells and notes of a ladder table."""
    return RenderedLadder(
        columns=COLUMNS,
        cuts=tuple(_cut(number, ladder) for number, ladder in enumerate(table.ladders)),
        notes=(
            f"accuracy: {table.validation_images} validation images of {table.dataset}, this cut "
            f"alone compressed; ranges: {table.calibration_images} train images",
            f"bytes: frames of {table.batch} images, without headers; "
            f"mechanisms: {', '.join(table.mechanisms)}",
            f"built in {table.cost.duration_s:.1f} s with {table.cost.peak_memory_mib:.0f} MiB; "
            f"content {table.key[:12]}",
        ),
    )


def _cut(number: int, ladder: Ladder) -> CutTable:
    first = ladder.rungs[0]
    rows = tuple(
        (
            rung.name,
            f"{rung.payload_bytes:,.1f}",
            f"{first.payload_bytes / rung.payload_bytes:.1f}",
            f"{100 * rung.accuracy:.2f}",
            f"{100 * (first.accuracy - rung.accuracy):.2f}",
            f"{rung.encode_ms:.3f}",
            f"{rung.decode_ms:.3f}",
        )
        for rung in ladder.rungs
    )
    shape = " x ".join(map(str, ladder.shape))
    title = f"cut {number}, after {ladder.after} ({shape}); {ladder.considered} combinations tried"
    return CutTable(title, rows)
