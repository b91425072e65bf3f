"""A sweep while it works: a line for every combination, a mark for every repetition."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Literal, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from testbed.sweep.file import Cell, words, yaml_words

State = Literal["waiting", "running", "pass", "warn", "fail", "failed"]

MARKS: Mapping[State, tuple[str, str, str]] = {
    "waiting": ("·", "dim", "waiting"),
    "running": ("▶", "cyan", "running"),
    "pass": ("✓", "green", "done"),
    "warn": ("✓", "yellow", "done, fidelity warns"),
    "fail": ("!", "red", "done, its links were not what they claim"),
    "failed": ("✗", "bold red", "failed"),
}
LINES_BESIDE_ROWS = 10


class SweepDisplay:
    """Draws the states of all cells until left; a context manager."""

    def __init__(self, cells: Sequence[Cell], console: Console) -> None:
        self._console = console
        self._cells = cells
        self._states: dict[str, State] = {cell.key: "waiting" for cell in cells}
        self._bar = Progress(
            TextColumn("cells"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task("cells", total=len(cells))
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=2, transient=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()
        if not self._console.is_terminal:
            self._console.print()  # rich ends the last line on terminals only

    def show(self, cell: Cell, state: State, remark: str = "") -> None:
        """A cell has come into a state; said in a line where no table can move."""
        if state == "running" and self._states[cell.key] != "waiting":
            return  # the news of a short cell's beginning came after its end
        self._states[cell.key] = state
        ended = sum(each not in ("waiting", "running") for each in self._states.values())
        self._bar.update(self._task, completed=ended)
        if remark or not self._console.is_terminal:
            line = f"{cell}: {MARKS[state][2]}{': ' if remark else ''}{remark}"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _render(self) -> RenderableType:
        table = sweep_table(self._cells, self._states, self._console.height - LINES_BESIDE_ROWS)
        return Group(table, self._bar)


def sweep_table(cells: Sequence[Cell], states: Mapping[str, State], rows: int) -> Table:
    """The combinations, at most ``rows`` of them, beginning before the first that is not done."""
    combinations: dict[str, list[Cell]] = {}
    for cell in cells:
        combinations.setdefault(words(cell.settings), []).append(cell)
    lines = list(combinations.values())
    unfinished = (
        number
        for number, line in enumerate(lines)
        if any(states[cell.key] in ("waiting", "running") for cell in line)
    )
    first = max(0, min(next(unfinished, len(lines)) - 1, len(lines) - rows))
    shown = lines[first : first + max(rows, 1)]
    table = Table(caption=_legend(states, len(lines) - len(shown)), caption_justify="left")
    for field in cells[0].settings:
        table.add_column(field, justify="right")
    table.add_column("repetitions")
    for line in shown:
        values = (yaml_words(value) for value in line[0].settings.values())
        table.add_row(*values, Text.assemble(*(_mark(states[cell.key]) for cell in line)))
    return table


def _mark(state: State) -> tuple[str, str]:
    mark, style, _ = MARKS[state]
    return mark, style


def _legend(states: Mapping[str, State], hidden: int) -> Text:
    present = [state for state in MARKS if state in states.values()]
    parts = [f"{MARKS[state][0]} {MARKS[state][2]}" for state in present]
    if hidden:
        parts.append(f"{hidden} more combinations")
    return Text("   ".join(parts))
