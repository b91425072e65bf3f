"""Serving-time switching: what a switch adds to the latency of the frames around it."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars
import pytest

from stage_node.processes.zygote import Zygote
from stage_node.records.ledger import to_parquet
from stage_node.wire.codecs import ALL_CODECS
from stage_node.wire.rung import Rung
from tests.stage_node.fringe.rig import pipeline
from tests.stage_node.fringe.single_process import RESNET, resident

SWITCHES = 100
BATCH = 8
WINDOW = 4
APART = 9
"""Frames, at least, from one switch to the next where they are counted."""
Floats = npt.NDArray[np.float64]


@pytest.mark.real_clock
@pytest.mark.parametrize("window", [1, WINDOW])
def test_no_frame_waits_for_a_switch_to_a_resident_rung(
    zygote: Zygote, tmp_path: Path, window: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between rungs that take equally long, so that only the switch can make a frame late; at given
    frames, for a given moment would more often lie in one of the machine's own pauses. What a
    switch adds is printed; the bound is a millisecond and what noise makes of it."""
    with pipeline(
        zygote, tmp_path, batch=BATCH, window=window, codecs=ALL_CODECS, fringe=RESNET.fringe_layers
    ) as rig:
        resident(rig.model, RESNET).loaded_into(rig)
        for client in rig.clients:
            client.prepare(1, (Rung(width=7), Rung(width=9)))
            client.prepare(2, (Rung(width=8), Rung(width=10)))
        rig.start()
        source, switches = rig.clients[0], []
        for number in range(SWITCHES):
            switches.append(source.activate(1 + number % 2, "validation").first_sequence)
            source.results(1 + number % 2, APART * BATCH)
        source.drain()
        rig.stop(zygote)
    to_parquet(tmp_path)
    frames = Served.of(tmp_path, switches)
    added_ms, error_ms = frames.added_ms(window)
    with capsys.disabled():
        print(f"\na switch, {window} in flight, adds {added_ms:+.2f} ms, +- {error_ms:.2f}")
    assert added_ms < 1 + 3 * error_ms
    assert frames.pauses() == []


@dataclass(frozen=True)
class Served:
    """Every frame of a run, in order, and which are the first of their generations."""

    admitted_ms: Floats
    result_ms: Floats
    first: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, folder: Path, switches: list[int]) -> "Served":
        results = polars.read_parquet(folder / "results.parquet").sort("sequence")
        first = np.zeros(len(results), bool)
        first[[sequence for sequence in switches if 0 < sequence < len(results)]] = True
        times = (results[name].to_numpy() / 1e6 for name in ("t_admitted_ns", "t_result_ns"))
        return cls(*times, first)

    @property
    def latency_ms(self) -> Floats:
        return self.result_ms - self.admitted_ms

    def pauses(self) -> list[str]:
        """What happens more often at switches than between them, where nothing waits for anything.

        A busy machine holds up frames wherever they are: those between switches say how often.
        """
        frame_ms = float(np.median(self.latency_ms[~self.first]))
        gap_ms = np.diff(self.result_ms, prepend=self.admitted_ms[0])
        before = np.concatenate([[np.inf], self.result_ms[:-1]])
        signs = {
            "no results for longer than a frame is under way": gap_ms > frame_ms,
            "under way for twice as long as a frame is": self.latency_ms > 2 * frame_ms,
            "the pipeline was empty": before <= self.admitted_ms,
        }
        return [sign for sign, seen in signs.items() if self._more_often_at_switches(seen)]

    def _more_often_at_switches(self, seen: npt.NDArray[np.bool_]) -> bool:
        """Beyond four standard deviations of as many draws from elsewhere, and three more."""
        count, share = int(self.first.sum()), float(seen[~self.first].mean())
        allowed = count * share + 4 * math.sqrt(count * share * (1 - share)) + 3
        return int(seen[self.first].sum()) > allowed

    def added_ms(self, window: int) -> tuple[float, float]:
        """Latency of the first frame of a generation, less that of a frame in the middle of its
        generation and of the one before (mean of their medians): median over the switches, and the
        standard error of that (from the median deviation)."""
        (first,) = np.nonzero(self.first[: -window - APART])
        near = np.arange(window, APART)  # has its own generation alone in flight with it
        away = [
            np.median(self.latency_ms[first[1:, None] + side], axis=1) for side in (near, -near)
        ]
        added = self.latency_ms[first[1:]] - np.mean(away, axis=0)
        spread = 1.4826 * float(np.median(np.abs(added - np.median(added))))
        return float(np.median(added)), 1.2533 * spread / math.sqrt(len(added))


def served(pause_ms: float, every: int, empty: bool = False) -> Served:
    """Frames every 3 ms, each 12 ms under way; every tenth is the first of a generation. Some of
    those wait, and every frame behind them, at the source (``empty``) or in a stage."""
    count = 2000
    first = np.arange(count) % 10 == 9
    slow = np.arange(count) % (10 * every) == 9
    result_ms = 12 + 3.0 * np.arange(count) + pause_ms * np.cumsum(slow)
    admitted_ms = np.concatenate([3.0 * np.arange(WINDOW), result_ms[:-WINDOW]])
    if empty:
        admitted_ms[slow] = np.concatenate([[0.0], result_ms[:-1]])[slow]
    return Served(admitted_ms, result_ms, first)


def test_a_pause_at_few_of_the_switches_is_seen() -> None:
    assert served(0, every=1).pauses() == []
    assert served(1.5, every=1).added_ms(WINDOW)[0] == 1.5
    assert served(100, every=100).pauses() == [], "two of 200: the machine"
    assert "no results for longer" in served(100, every=25).pauses()[0]
    assert "the pipeline was empty" in served(0, every=25, empty=True).pauses()
