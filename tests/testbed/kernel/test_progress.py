"""The bar of a kernel's build: it moves within a phase, and never beyond its end."""

import io

import pytest
from rich.console import Console

from testbed.kernel.build_progress import EXTENTS, BuildProgress


@pytest.fixture
def moved(monkeypatch) -> list[float]:
    """Where the bar was drawn, in usual seconds."""
    places: list[float] = []
    monkeypatch.setattr(BuildProgress, "move", lambda self, seconds: places.append(seconds))
    return places


def test_a_phase_moves_from_its_beginning_to_its_end_and_no_further(moved):
    before_s = EXTENTS["download"].seconds
    end_s = before_s + EXTENTS["unpack"].seconds
    with BuildProgress(Console(file=io.StringIO())) as progress:
        with progress.phase("unpack") as phase:
            for _ in range(EXTENTS["unpack"].lines // 2):
                phase.line("a file")
            half = moved[-1]
            for _ in range(EXTENTS["unpack"].lines):
                phase.line("another")
        assert "unpack 0" in progress.took()
    assert half == pytest.approx((before_s + end_s) / 2, rel=0.01)
    assert moved == sorted(moved) and moved[-1] == end_s


def test_on_a_terminal_the_phase_and_the_share_are_drawn():
    said = io.StringIO()
    console = Console(file=said, force_terminal=True, width=100)
    with BuildProgress(console) as progress, progress.phase("compile"):
        progress.move(0.0)
        progress._bar.refresh()
        at_first = said.getvalue()
        progress.move(sum(extent.seconds for extent in EXTENTS.values()))
        progress._bar.refresh()
    assert "compile" in at_first and "0%" in at_first
    assert "100%" in said.getvalue()
