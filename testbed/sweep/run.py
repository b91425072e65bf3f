"""Runs a sweep: prepares, hands its cells to Dask, shows them, makes one table of them all.

``DIR/cells/<key>/`` is the run directory of a cell, ``DIR/logs/<key>.log`` what it said. A cell
whose run directory is whole is not run again.
"""

import contextlib
import fcntl
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from distributed import Client, Event, Future, as_completed, wait
from rich.console import Console

from analysis.sweep.report import write_sweep
from analysis.sweep.table import SweepRun, read_cell
from stage_node.records.vocabulary import ClockKind
from testbed.errors import BadExperimentError, RunInterruptedError
from testbed.hosts.choose import HostWish, choose_host, tell_choice
from testbed.interruption import Stopped, stopped_by_signals
from testbed.kernel.build import ensure_kernel
from testbed.planning.ladders import check_measured
from testbed.planning.processes import plan_pipelines
from testbed.sweep.cell import END_S, CellOutcome, CellRequest, run_cell
from testbed.sweep.cluster import connected
from testbed.sweep.display import SweepDisplay, sweep_table
from testbed.sweep.file import Cell, Sweep, find_sweep, load_sweep, words


@dataclass(frozen=True)
class Workers:
    """The place of cells: ``jobs`` workers of this machine, or the cluster of a Dask scheduler."""

    jobs: int
    address: str | None = None


@dataclass(frozen=True)
class CellPlace:
    """Kind of host and clock that every cell of a sweep runs on."""

    host: str
    clock: ClockKind

    @property
    def name(self) -> str:
        """Both in a word or two."""
        return f"{self.host} {self.clock}" if self.clock == "virtual" else self.host


@dataclass(frozen=True)
class SweepDirectory:
    """Names of a sweep's files; a directory that every worker sees."""

    path: Path

    def cell(self, cell: Cell) -> Path:
        """The run directory of a cell."""
        return self.path / "cells" / cell.key

    def log(self, cell: Cell) -> Path:
        """Output of its process."""
        return self.path / "logs" / f"{cell.key}.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Made if need be, and for one sweep at a time."""
        if not _is_fresh(self.path) and not (self.path / "cells").is_dir():
            raise BadExperimentError(f"--out {self.path}: exists and is not a sweep's directory")
        try:
            for folder in ("cells", "logs"):
                (self.path / folder).mkdir(parents=True, exist_ok=True)
            lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise BadExperimentError(
                f"--out {self.path}: cannot be written: {error.strerror}"
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BadExperimentError(
                    f"--out {self.path}: another sweep is at work there"
                ) from error
            yield


def run_sweep(
    file: Path,
    wish: HostWish,
    out: Path | None,
    workers: Workers,
    retry_disturbed: bool,
    console: Console,
) -> int:
    """Run what is left of a sweep and write its table and plots; the exit status for the shell.

    0: every cell has figures, and links that were what they claim; 1: not every one. Raises
    BadExperimentError before anything starts, RunInterruptedError on Ctrl-C or SIGTERM, when
    nothing runs any more and the same call would go on.
    """
    path = find_sweep(file)
    with console.status("checking every cell"):
        sweep = load_sweep(path)
    place = _place(wish, sweep, workers, console)
    with console.status("measuring compression ladders (once; they are kept)"):
        check_ladders(sweep, path)
    directory = SweepDirectory((out or Path("runs") / f"sweep-{sweep.file.name}").resolve())
    cells = sweep.cells(place.name)
    console.print(f"sweep directory: {directory.path}", highlight=False, soft_wrap=True)
    with directory.locked():
        (directory.path / "sweep.yaml").write_text(
            yaml.safe_dump(sweep.file.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        )
        arguments = {cell.key: cell_arguments(cell, place, directory.cell(cell)) for cell in cells}
        left = [cell for cell in cells if _is_left(directory.cell(cell), retry_disturbed)]
        if len(left) < len(cells):
            console.print(f"{len(cells) - len(left)} of {len(cells)} cells are done already")
        execute(cells, left, arguments, directory, workers, console)
        return conclude(sweep, cells, directory, console)


def list_cells(file: Path, console: Console) -> None:
    """Check a sweep and print what it would run."""
    sweep = load_sweep(find_sweep(file))
    cells = sweep.cells("anywhere")
    console.print(sweep_table(cells, {cell.key: "waiting" for cell in cells}, len(cells)))
    console.print(
        f"{sweep.file.experiment}: {len(cells)} cells, {len(sweep.combinations)} combinations x "
        f"{sweep.file.repetitions} repetitions",
        highlight=False,
    )


def check_ladders(sweep: Sweep, path: Path) -> None:
    """Can every ladder do what its cell asks? Measured now, and not by every cell at once."""
    mistakes = dict[str, str]()
    for combination in sweep.combinations:
        for plan in plan_pipelines(combination.checked):
            try:
                check_measured(plan, combination.file.name)
            except BadExperimentError as error:
                told = f"{path}: with {words(combination.settings)}: {error}"
                mistakes.setdefault(str(error), told)
    if mistakes:
        raise BadExperimentError("\n".join(mistakes.values()))


def cell_arguments(cell: Cell, place: CellPlace, directory: Path) -> tuple[str, ...]:
    """The program's command line for one cell, after ``python``; a user may give it as well."""
    replaced = (word for each in cell.assignments for word in ("--set", each))
    command = ("-P", "-m", "testbed", "run", str(cell.file), *replaced)
    options = ("--host", place.host, "--clock", place.clock, "--seed", str(cell.seed))
    return (*command, *options, "--out", str(directory))


def execute(
    cells: Sequence[Cell],
    left: Sequence[Cell],
    arguments: dict[str, tuple[str, ...]],
    directory: SweepDirectory,
    workers: Workers,
    console: Console,
) -> None:
    """Run the cells that are left; one that fails does not end the others."""
    if not left:
        return
    session = uuid.uuid4().hex
    requests = {
        cell.key: CellRequest(
            key=cell.key,
            arguments=arguments[cell.key],
            directory=directory.cell(cell),
            log=directory.log(cell),
            working_directory=Path.cwd(),
            stop=f"stop-{session}",
            topic=f"cells-{session}",
        )
        for cell in left
    }
    try:
        with (
            stopped_by_signals(),
            connected(workers.address, min(workers.jobs, len(left))) as client,
            SweepDisplay(cells, console) as display,
        ):
            for cell in cells:
                if cell.key not in requests:
                    _show_ended(display, cell, directory, None)
            _execute(client, left, requests, directory, display)
    except Stopped as error:
        raise RunInterruptedError(
            "interrupted; nothing is left running; the same command continues with what is left",
            error.signal_number,
        ) from error


def conclude(
    sweep: Sweep, cells: Sequence[Cell], directory: SweepDirectory, console: Console
) -> int:
    """Write table and plots, say where they are; 0 if every cell is as it should be."""
    runs = [
        SweepRun(
            cell.settings, cell.repetition, f"cells/{cell.key}", read_cell(directory.cell(cell))
        )
        for cell in cells
    ]
    with console.status("drawing"):
        files = write_sweep(directory.path, sweep.file.name, runs, sweep.file.figures)
    failed = sum(run.summary is None for run in runs)
    disturbed = sum(
        run.summary is not None and run.summary.fidelity.verdict == "fail" for run in runs
    )
    for count, what in (
        (failed, f"failed; the same command runs them again (logs in {directory.path / 'logs'})"),
        (disturbed, "had links that were not what they claim; --retry-disturbed runs them again"),
    ):
        if count:
            console.print(f"{count} of {len(runs)} cells {what}", highlight=False, soft_wrap=True)
    for pattern in files.unknown:
        console.print(f"figures: no column of numbers fits {pattern!r}", highlight=False)
    console.print(f"table: {files.table} (and .csv)", highlight=False, soft_wrap=True)
    console.print(
        f"plots: {directory.path / 'plots'} ({len(files.plots)})", highlight=False, soft_wrap=True
    )
    return 1 if failed or disturbed else 0


def _place(wish: HostWish, sweep: Sweep, workers: Workers, console: Console) -> CellPlace:
    """The host and the clock of all cells; a cluster's machines may differ from this one, and are
    asked for nothing but what is named."""
    clocks = {combination.experiment.clock for combination in sweep.combinations}
    if len(clocks) > 1:
        raise BadExperimentError(
            "parameters: clock: all cells of a sweep run on one clock; make a sweep for each"
        )
    wish = replace(wish, clock=wish.clock or clocks.pop())
    if workers.address is not None and wish.host != "auto" and wish.clock is not None:
        return CellPlace(wish.host, wish.clock)
    choice = choose_host(wish, lambda: ensure_kernel(console))
    tell_choice(choice, console)
    return CellPlace(choice.kind, choice.clock)


def _is_fresh(path: Path) -> bool:
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def _is_left(directory: Path, retry_disturbed: bool) -> bool:
    summary = read_cell(directory)
    return summary is None or (retry_disturbed and summary.fidelity.verdict == "fail")


def _execute(
    client: Client,
    left: Sequence[Cell],
    requests: dict[str, CellRequest],
    directory: SweepDirectory,
    display: SweepDisplay,
) -> None:
    by_key = {cell.key: cell for cell in left}
    one = next(iter(requests.values()))
    stop = Event(one.stop, client=client)

    def begun(event: tuple[float, Any]) -> None:
        display.show(by_key[event[1]["key"]], "running")

    client.subscribe_topic(one.topic, begun)
    futures: dict[Future[CellOutcome], Cell] = {
        client.submit(run_cell, requests[cell.key], key=f"{cell.key}-{one.stop}", pure=False): cell
        for cell in left
    }
    try:
        for future in as_completed(futures):
            _show_ended(display, futures[future], directory, _outcome(future))
    except Stopped:
        stop.set()  # cells at work end their guests, those that wait do not begin
        with contextlib.suppress(TimeoutError):
            wait(list(futures), timeout=END_S)
        raise


def _outcome(future: Future[CellOutcome]) -> CellOutcome:
    """Return the end of a cell, even if its worker died."""
    error = future.exception()
    if error is None:
        outcome: CellOutcome = future.result()
        return outcome
    return CellOutcome(1, f"{type(error).__name__}: {error}".splitlines()[0])


def _show_ended(
    display: SweepDisplay, cell: Cell, directory: SweepDirectory, outcome: CellOutcome | None
) -> None:
    summary = read_cell(directory.cell(cell))
    if summary is not None and summary.fidelity.verdict != "unknown":
        display.show(cell, summary.fidelity.verdict)
    else:
        display.show(cell, "failed", outcome.last_line if outcome else "")
