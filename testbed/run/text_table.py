"""Tables in the terminal whose cells are whole at any width: nothing is ever cut."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console

GAP = 2
LEAST_WIDTH = 20


@dataclass(frozen=True)
class TextTable:
    """A title, headings and rows of cells; ``texts``: the columns of words, set to the left.

    The first column names the row.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: tuple[int, ...] = (0,)


def print_table(table: TextTable, console: Console) -> None:
    """Print a table, each line within the console's width where its cells allow that."""
    console.print()
    console.print(table.title, highlight=False, markup=False, soft_wrap=True)
    for line in table_lines(table, console.width):
        # A number that is wider than the terminal is for the terminal to wrap, not to cut.
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def table_lines(table: TextTable, width: int) -> list[str]:
    """Lay a table out: all columns side by side, or in groups, or a figure a line.

    Columns that do not fit beside the first follow in a table of their own, which repeats the
    first; where not even one does, every figure has a line with its heading.
    """
    widths = _widths(table)
    groups = _groups(widths, max(width, LEAST_WIDTH))
    if groups is None:
        return _one_a_line(table)
    lines: list[str] = []
    for number, group in enumerate(groups):
        lines += [""] * bool(number)
        cells = [[row[column] for column in group] for row in (table.headings, *table.rows)]
        lines += [_line(row, [widths[column] for column in group], table, group) for row in cells]
    return lines


def _widths(table: TextTable) -> list[int]:
    rows = (table.headings, *table.rows)
    return [max(cell_len(row[column]) for row in rows) for column in range(len(table.headings))]


def _groups(widths: Sequence[int], width: int) -> list[list[int]] | None:
    """Columns that fit side by side, the first in each group; None if some column never fits."""
    if any(widths[0] + GAP + each > width for each in widths[1:]):
        return None
    groups, used = [[0]], widths[0]
    for column, each in enumerate(widths[1:], 1):
        if used + GAP + each > width:
            groups.append([0])
            used = widths[0]
        groups[-1].append(column)
        used += GAP + each
    return groups


def _line(
    cells: Sequence[str], widths: Sequence[int], table: TextTable, group: Sequence[int]
) -> str:
    padded = []
    for cell, width, column in zip(cells, widths, group, strict=True):
        space = " " * (width - cell_len(cell))
        padded.append(cell + space if column in table.texts else space + cell)
    return (" " * GAP).join(padded).rstrip()


def _one_a_line(table: TextTable) -> list[str]:
    lines = []
    for row in table.rows:
        lines.append(row[0])
        pairs = zip(table.headings[1:], row[1:], strict=True)
        lines += [f"  {heading}: {cell}" for heading, cell in pairs if cell]
    return lines
