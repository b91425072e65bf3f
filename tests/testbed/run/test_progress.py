"""The display follows an event log that other processes write."""

from io import StringIO
from pathlib import Path

from rich.console import Console

from stage_node.records.events import (
    EventFollower,
    EventLog,
    Iteration,
    Message,
    Phase,
    Progress,
    StepRefused,
)
from testbed.run.progress import RunDisplay, describe


def test_the_follower_hands_over_complete_lines_once(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.touch()
    follower = EventFollower(file)
    assert follower.fresh() == []
    with EventLog(file, "a") as log:
        log.emit(Message(text="one"))
        whole = file.read_bytes()
        log.emit(Message(text="two"))
    line = file.read_bytes().removeprefix(whole)
    file.write_bytes(whole + line[:7])
    assert [event.text for event in follower.fresh() if isinstance(event, Message)] == ["one"]
    file.write_bytes(whole + line)
    assert [event.text for event in follower.fresh() if isinstance(event, Message)] == ["two"]
    assert follower.fresh() == []


def test_the_display_tells_the_story(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.touch()
    out = StringIO()
    with RunDisplay(file, Console(file=out, width=160)), EventLog(file, "runner") as log:
        log.emit(Phase(phase="probe", state="begin"))
        log.emit(Progress(task="download", done=1, total=2))
        log.emit(Progress(task="download", done=2, total=2))
        log.emit(Phase(phase="probe", state="end"))
        log.emit(Message(text="all [links] are what they claim"))
    assert "all [links] are what they claim" in out.getvalue()


def test_a_refusal_is_told_with_its_status_and_reason() -> None:
    refused = StepRefused(t_ns=1, who="ue1", model="m", status=409, reason="too late by 9 ms")
    assert describe(refused) == "ue1 is refused (409): too late by 9 ms"


def test_an_iteration_is_one_line_with_its_figures() -> None:
    line = describe(
        Iteration(
            t_ns=1,
            who="controller",
            index=3,
            cut=0,
            generation=4,
            rungs=("8 of 16 channels", "uncompressed"),
            accuracy=0.9833,
            samples=300,
            latency_ms_median=12.34,
            bytes_per_inference=(2048.0, 4096.5),
            outcome="kept",
            reason="",
        )
    )
    assert line is not None
    rungs = "8 of 16 channels | uncompressed"
    for part in ("iteration 3", rungs, "2,048 + 4,096", "98.3%", "12.3 ms", "kept"):
        assert part in line
