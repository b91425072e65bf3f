"""Ladders for runs and for people: measured on this machine, kept in a cache, shown as a table."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from controller.control.choices import check_modes, choices_of
from controller.errors import BadTargetsError
from controller.ladder.builder import build_ladder
from controller.ladder.cache import TABLE, ensure_ladder
from controller.ladder.ladder import Ladder, LadderRung, LadderTable
from controller.live.plan import PipelinePlan, check_ladder
from stage_node.records.run_directory import RunDirectory
from testbed.errors import BadExperimentError
from testbed.experiment.file import pipeline_field


def measured_ladder(plan: PipelinePlan) -> Path:
    """The directory of the plan's ladder, from the cache or built now."""
    return ensure_ladder(plan.ladder_request, build_ladder)


def check_measured(plan: PipelinePlan, origin: str) -> None:
    """Can the ladder do what is asked? Builds it where it is not in the cache.

    Raises BadExperimentError, begun by ``origin``, the file, where it shows that the targets cannot
    be reached, or that there are no rungs such as control is to serve under.
    """
    table = read_table(measured_ladder(plan))
    section = f"{pipeline_field(plan.name)}.targets."
    try:
        check_ladder(table, plan.targets)
        if plan.control is not None:
            section = f"{pipeline_field(plan.name)}.control."
            check_modes(choices_of(table.ladders, plan.batch, plan.targets), plan.control)
    except BadTargetsError as error:
        raise BadExperimentError(f"{origin}: {section}{error}") from error


def fetch_ladder(plan: PipelinePlan, run: RunDirectory) -> Path:
    """Put a copy of the plan's ladder, which has been checked, into the run directory."""
    folder = run.ladder(plan.name)
    shutil.copytree(measured_ladder(plan), folder)
    return folder


def read_table(folder: Path) -> LadderTable:
    """The table in a ladder's directory."""
    return LadderTable.from_json((folder / TABLE).read_text())


COLUMNS: dict[str, Callable[[LadderRung, float], str]] = {
    "rung": lambda rung, _: rung.rung.name,
    "B per\nimage": lambda rung, _: f"{rung.payload_bytes:,.1f}",
    "times\nfewer": lambda rung, most: f"{most / rung.payload_bytes:.1f}",
    "right\n%": lambda rung, _: f"{100 * rung.accuracy:.2f}",
    "encode\nms": lambda rung, _: f"{rung.encode_ms:.3f}",
    "decode\nms": lambda rung, _: f"{rung.decode_ms:.3f}",
    "switch\nB": lambda rung, _: f"{rung.transfer_bytes:,}",
    "fringe\nkMACs": lambda rung, _: (
        f"{(rung.fringe.sender_macs + rung.fringe.receiver_macs) / 1e3:,.0f}"
    ),
    "fringe\nweights": lambda rung, _: f"{rung.fringe.parameters:,}",
    "coded\nB": lambda rung, _: f"{rung.fringe.weight_bytes:,}",
}
"""What a table says of a rung, given the bytes of the first; without room the last go first."""

AMPLE_WIDTH = 10_000
"""Characters; no table is as wide."""


def ladder_tables(table: LadderTable, width: int = AMPLE_WIDTH) -> list[Table]:
    """One table per cut: bytes, accuracy, compute and what a switch transfers, of every rung.

    Names of rungs are never cut; what does not fit ``width`` characters beside them is left out.
    """
    return [_fitting(table, ladder, width) for ladder in table.ladders]


def _fitting(table: LadderTable, ladder: Ladder, width: int) -> Table:
    ample = Console(width=AMPLE_WIDTH)
    for columns in range(len(COLUMNS), 1, -1):
        shown = _cut_table(table, ladder, columns)
        if ample.measure(shown).maximum <= width:
            break
    return shown


def _cut_table(table: LadderTable, ladder: Ladder, columns: int) -> Table:
    """The first ``columns`` of them."""
    shape = "x".join(map(str, ladder.shape))
    left_out = ", ".join(" ".join(heading.split()) for heading in [*COLUMNS][columns:])
    shown = Table(
        title=f"Cut after {ladder.after} ({shape}); {ladder.considered} combinations considered",
        caption=f"right: of {table.validation_images} validation images by the whole model, this "
        "cut alone compressed; fringe: its layers on both sides with encoder and decoder, weights "
        "that are not zero, coded for delivery; switch: what the stages have to be sent before the "
        f"first one; built in {table.cost.duration_s:.1f} s ({table.cost.cpu_s:.1f} s of "
        f"processor), {table.cost.peak_memory_mib:.0f} MiB"
        + (f"; no room for: {left_out}" if left_out else ""),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
        collapse_padding=True,
    )
    cells = dict(itertools.islice(COLUMNS.items(), columns))
    for heading in cells:
        shown.add_column(heading, justify="left" if heading == "rung" else "right", no_wrap=True)
    most = ladder.rungs[0].payload_bytes
    for rung in ladder.rungs:
        shown.add_row(*(cell(rung, most) for cell in cells.values()))
    return shown
