"""The ledger: what each process saw of every frame, to be joined with the packet captures.

Rows are written into preallocated int64 arrays while frames fly (about a microsecond each); names
and addresses are added when the ledger is saved. A process leaves ``<table>-<process>.npy``
(structured arrays, no pickle) and ``to_parquet`` makes one Parquet file of each table.

Times are ``CLOCK_MONOTONIC`` in nanoseconds; byte offsets count from the first payload byte of the
TCP stream in that direction.
"""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

NAME_BYTES = 32
CODEC_BYTES = 24
FRAMES = np.dtype(
    [
        ("node", f"S{NAME_BYTES}"),
        ("peer", f"S{NAME_BYTES}"),
        ("direction", "S4"),  # send or recv
        ("cut", "i4"),  # NOT_A_CUT: over no cut
        ("local_ip", "S15"),
        ("local_port", "i4"),
        ("peer_ip", "S15"),
        ("peer_port", "i4"),
        ("kind", "S12"),
        ("codec", f"S{CODEC_BYTES}"),
        ("sequence", "i8"),
        ("generation", "i8"),
        ("samples", "i4"),
        ("first_byte", "i8"),
        ("end_byte", "i8"),  # exclusive
        ("payload_bytes", "i8"),
        ("t_queued_ns", "i8"),  # send: handed to the sender; recv: 0
        ("t_begin_ns", "i8"),  # first byte handed to, or got from, the kernel
        ("t_end_ns", "i8"),  # last byte
    ]
)
COMPUTE = np.dtype(
    [
        ("node", f"S{NAME_BYTES}"),
        ("sequence", "i8"),
        ("generation", "i8"),
        ("samples", "i4"),
        ("t_free_ns", "i8"),  # the stage had passed on the frame before
        ("t_begin_ns", "i8"),
        ("t_end_ns", "i8"),
    ]
)
RESULTS = np.dtype(
    [
        ("node", f"S{NAME_BYTES}"),
        ("sequence", "i8"),
        ("generation", "i8"),
        ("samples", "i4"),
        ("correct", "i4"),
        ("t_admitted_ns", "i8"),
        ("t_result_ns", "i8"),
    ]
)
NOT_A_CUT = -1
TABLES = {"frames": FRAMES, "compute": COMPUTE, "results": RESULTS}
"""Every table of a ledger, by the name of its file."""

LATER_COLUMNS = {"compute": {"t_free_ns"}, "results": {"node"}}
"""Columns that the ledgers of older runs lack."""

Table = npt.NDArray[np.void]


class Rows:
    """Rows of integers under named columns; one thread appends, any thread may read."""

    def __init__(self, columns: tuple[str, ...], capacity: int = 1024) -> None:
        self.columns = columns
        self._cells = np.zeros((capacity, len(columns)), np.int64)
        self._count = 0

    def append(self, *row: int) -> None:
        """Add one row."""
        if self._count == len(self._cells):
            self._cells = np.concatenate([self._cells, np.zeros_like(self._cells)])
        self._cells[self._count] = row
        self._count += 1

    def table(
        self,
        dtype: np.dtype[np.void],
        names: Mapping[str, npt.NDArray[np.bytes_]] | None = None,
        **constants: object,
    ) -> Table:
        """The complete rows as a structured array.

        Numbers in the columns of ``names`` are looked up there; ``constants`` are whole columns.
        """
        cells = self._cells[: self._count]
        table = np.zeros(len(cells), dtype)
        for column, name in enumerate(self.columns):
            lookup = (names or {}).get(name)
            table[name] = cells[:, column] if lookup is None else lookup[cells[:, column]]
        for name, value in constants.items():
            table[name] = value
        return table


class FrameTable(Protocol):
    """Rows of ``FRAMES`` that grow: the frames of one connection."""

    def table(self) -> Table:
        """Return the rows so far."""
        ...


class Ledger:
    """All tables of one process, to be left in ``directory``."""

    def __init__(self, process: str, directory: Path) -> None:
        if len(process) > NAME_BYTES:
            raise ValueError(f"process name {process!r} has more than {NAME_BYTES} characters")
        self.process = process
        self._directory = directory
        self.compute = Rows(
            ("sequence", "generation", "samples", "t_free_ns", "t_begin_ns", "t_end_ns")
        )
        self.results = Rows(
            ("sequence", "generation", "samples", "correct", "t_admitted_ns", "t_result_ns")
        )
        self._frames: list[FrameTable] = []
        self._saving = threading.Lock()

    def collect(self, frames: FrameTable) -> None:
        """Save the frames of one more connection with this ledger's tables."""
        self._frames.append(frames)

    def save(self) -> None:
        """Write every table that has rows, in place of what was saved before."""
        with self._saving:
            for name, table in self._tables().items():
                if len(table):
                    path = self._directory / f"{name}-{self.process}.npy"
                    partial = path.with_suffix(".partial")
                    with partial.open("wb") as file:
                        np.save(file, table, allow_pickle=False)
                    partial.rename(path)  # a process killed while writing leaves nothing half

    def _tables(self) -> dict[str, Table]:
        return {
            "frames": np.concatenate([np.zeros(0, FRAMES), *(log.table() for log in self._frames)]),
            "compute": self.compute.table(COMPUTE, node=self.process),
            "results": self.results.table(RESULTS, node=self.process),
        }


def to_parquet(directory: Path) -> None:
    """Replace the processes' arrays by one ``<table>.parquet`` for each of ``TABLES``.

    A table without rows becomes an empty file with the right columns. Where no process left
    an array, nothing is done: what was converted before stays.
    """
    if not any(directory.glob("*.npy")):
        return
    import polars  # not preloaded in stage processes: it starts threads

    for name, dtype in TABLES.items():
        parts = sorted(directory.glob(f"{name}-*.npy"))
        rows = np.concatenate([np.zeros(0, dtype), *(np.load(part) for part in parts)])
        columns = {
            column: rows[column].astype("U") if rows[column].dtype.kind == "S" else rows[column]
            for column in dtype.names or ()
        }
        polars.DataFrame(columns).write_parquet(directory / f"{name}.parquet")
        for part in parts:
            part.unlink()
