"""Tables in the terminal: every cell whole at every width."""

import re
from io import StringIO

import pytest
from rich.console import Console

from testbed.run.text_table import TextTable, print_table, table_lines

TABLE = TextTable(
    "A title",
    ("flow", "carries", "packets", "kB", "RTT ms", "95 %"),
    (
        ("server:8000 → ue", "digits-resnet20", "1\u202f677.7", "12\u202f345.6", "73.8", "78.2"),
        ("ue:47874 → server", "digits-resnet20", "599", "0.1", "\u2013", "\u2013"),
    ),
    texts=(0, 1),
)


@pytest.mark.parametrize("width", [10, 25, 40, 60, 80, 100, 200])
def test_every_cell_is_whole_at_every_width(width: int) -> None:
    shown = StringIO()
    print_table(TABLE, Console(file=shown, width=width))
    text = shown.getvalue()
    assert "…" not in text
    for row in (TABLE.headings[1:], *TABLE.rows):
        for cell in row:
            assert re.search(rf"(?<!\S){re.escape(cell)}(?=:?(\s|$))", text), cell


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_lines_keep_to_the_width_and_groups_repeat_the_first_column(width: int) -> None:
    lines = table_lines(TABLE, width)
    assert max(map(len, lines)) <= width
    assert sum(line.startswith("flow") for line in lines) == lines.count("") + 1


def test_where_not_even_two_columns_fit_every_figure_has_a_line() -> None:
    lines = table_lines(TABLE, 20)
    assert lines[:3] == [
        "server:8000 → ue",
        "  carries: digits-resnet20",
        "  packets: 1\u202f677.7",
    ]
