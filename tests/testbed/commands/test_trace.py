"""`concertina trace`: what a person reads in the terminal about a run."""

import re
import shutil
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from analysis.errors import NotARunError
from stage_node.records.run_directory import RunDirectory
from testbed.commands.trace import show_trace
from tests.analysis.synthetic_run import LOST_FRAME, SyntheticRun
from tests.testbed.run.manifests import a_manifest


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SyntheticRun().write(tmp_path_factory.mktemp("traced") / "run")


def traced(path: Path, frames: int = 5, width: int = 100) -> tuple[int, str]:
    shown = StringIO()
    status = show_trace(path, frames, Console(file=shown, width=width))
    return status, shown.getvalue().replace("\u202f", "")


def test_flows_frames_and_downloads_fit_a_hundred_columns(run: Path) -> None:
    status, text = traced(run)
    assert status == 0
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "…" not in text
    for told in ("ue1:40000 → edge", "cut 0", "cut 1", "waiting for TCP", "Downloads"):
        assert told in text
    assert "within 1 % for 100.0\u00a0% of 200 frames" in text


def test_the_frame_whose_segment_was_lost_is_slow_because_of_tcp(run: Path) -> None:
    _, text = traced(run, frames=1)
    (frame,) = (line for line in text.splitlines() if line.split()[:2] == [str(LOST_FRAME), "0"])
    assert "waiting for TCP" in frame
    assert "ue1 → edge" in frame


def test_only_the_direction_that_lost_something_sent_it_again(run: Path) -> None:
    _, text = traced(run)
    again = {
        line.split()[0]: float(line.split()[-5])
        for line in text.splitlines()
        if " → " in line and "cut " in line
    }
    assert again["ue1:40000"] > 0
    assert again["edge:40001"] == 0


def test_a_run_without_a_pipeline_says_so(tmp_path: Path) -> None:
    status, text = traced(SyntheticRun(pipeline=False).write(tmp_path / "run"))
    assert status == 0
    assert "No split model served in this run." in text


def test_a_damaged_capture_is_told_and_the_rest_is_shown(run: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(run, tmp_path / "run"))
    capture = path / "captures" / "ue1-eth0.pcap"
    capture.write_bytes(capture.read_bytes()[:-7])
    status, text = traced(path)
    assert status == 1
    assert "capture ue1-eth0.pcap is damaged" in text
    assert "cut 1" in text


def test_what_is_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(NotARunError, match="no such directory"):
        traced(tmp_path / "nothing")
    a_manifest().write(RunDirectory(tmp_path).manifest)
    with pytest.raises(NotARunError, match=r"not a run directory, network\.json is missing"):
        traced(tmp_path)


NUMBER = re.compile(r"(?<![\w.])\u2212?\d[\d\u202f]*(?:\.\d+)?(?![\w.])")


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_same_whole_numbers_at_every_width(run: Path, width: int) -> None:
    shown, wide = StringIO(), StringIO()
    show_trace(run, 5, Console(file=shown, width=width))
    show_trace(run, 5, Console(file=wide, width=1000))
    assert set(NUMBER.findall(shown.getvalue())) == set(NUMBER.findall(wide.getvalue()))
    assert "…" not in shown.getvalue()


def test_piped_output_has_every_number_whole(run: Path) -> None:
    piped, wide = StringIO(), StringIO()
    show_trace(run, 5, Console(file=piped))  # not a terminal: 80 columns
    show_trace(run, 5, Console(file=wide, width=1000))
    assert set(NUMBER.findall(piped.getvalue())) == set(NUMBER.findall(wide.getvalue()))
