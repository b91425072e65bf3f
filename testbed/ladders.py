"""Ladders for runs and for people: measured on this machine, kept in a cache, shown as a table."""

import shutil
from pathlib import Path

from rich.table import Table

from controller.ladder import Ladder, LadderTable
from controller.ladder_builder import build_ladder
from controller.ladder_request import TABLE, ensure_ladder
from controller.plan import PipelinePlan, check_ladder
from testbed.rundir import RunDirectory


def measured_ladder(plan: PipelinePlan) -> Path:
    """The directory of the plan's ladder, from the cache or built now.

    Raises BadTargetsError where the ladder shows that the targets cannot be reached.
    """
    folder = ensure_ladder(plan.ladder_request, build_ladder)
    check_ladder(read_table(folder), plan.targets)
    return folder


def fetch_ladder(plan: PipelinePlan, run: RunDirectory) -> Path:
    """Put a copy of the plan's ladder into the run directory."""
    shutil.copytree(measured_ladder(plan), run.ladder)
    return run.ladder


def read_table(folder: Path) -> LadderTable:
    """The table in a ladder's directory."""
    return LadderTable.from_json((folder / TABLE).read_text())


def ladder_tables(table: LadderTable) -> list[Table]:
    """One table per cut: bytes, accuracy and compute of every rung."""
    return [_cut_table(table, ladder) for ladder in table.ladders]


def _cut_table(table: LadderTable, ladder: Ladder) -> Table:
    shape = "x".join(map(str, ladder.shape))
    shown = Table(
        title=f"Cut after {ladder.after} ({shape}); {ladder.considered} combinations considered",
        caption=f"accuracy of the whole model on {table.validation_images} validation images, "
        f"this cut alone compressed; built in {table.cost.duration_s:.1f} s "
        f"({table.cost.cpu_s:.1f} s of processor), {table.cost.peak_memory_mib:.0f} MiB",
    )
    shown.add_column("rung")
    for heading in ("B per inference", "factor", "accuracy %", "encode ms", "decode ms"):
        shown.add_column(heading, justify="right")
    most = ladder.rungs[0].payload_bytes
    for rung in ladder.rungs:
        shown.add_row(
            rung.rung.name,
            f"{rung.payload_bytes:,.1f}",
            f"{most / rung.payload_bytes:.1f}",
            f"{100 * rung.accuracy:.2f}",
            f"{rung.encode_ms:.3f}",
            f"{rung.decode_ms:.3f}",
        )
    return shown
