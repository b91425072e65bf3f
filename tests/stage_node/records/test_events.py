"""Events are checked where they are made, and stamped by the log that takes them."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stage_node.records.events import EventLog, GenerationActivated, Phase, read_events


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The times that were read from the clock, which counts from 1000."""
    times: list[int] = []

    def read() -> int:
        times.append(1000 + len(times))
        return times[-1]

    monkeypatch.setattr(time, "monotonic_ns", read)
    return times


def test_a_line_has_the_kind_the_time_the_process_and_the_fields_in_order(
    tmp_path: Path, reads: list[int]
) -> None:
    """One look at the clock per event, given times or not: each moves the virtual clock."""
    path = tmp_path / "events.jsonl"
    with EventLog(path, "ue") as log:
        log.emit(Phase(phase="probe", state="begin"))
        log.emit(GenerationActivated(t_ns=7, generation=2, rungs=("fp32", "int8")))
    assert reads == [1000, 1001]
    assert path.read_text().splitlines() == [
        '{"kind":"phase","t_ns":1000,"who":"ue","phase":"probe","state":"begin"}',
        '{"kind":"generation_activated","t_ns":7,"who":"ue","generation":2,"rungs":["fp32","int8"]}',
    ]
    assert list(read_events(path)) == [
        Phase(t_ns=1000, who="ue", phase="probe", state="begin"),
        GenerationActivated(t_ns=7, who="ue", generation=2, rungs=("fp32", "int8")),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Phase(phase="probe"),  # type: ignore[call-arg]
        lambda: Phase(phase="probe", state="begin", task="probe"),  # type: ignore[call-arg]
    ],
)
def test_a_missing_or_unknown_field_is_refused(wrong: Callable[[], Phase]) -> None:
    with pytest.raises(TypeError):
        wrong()


@pytest.mark.parametrize("missing", ["t_ns", "who"])
def test_a_line_without_its_time_or_process_is_no_event(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "events.jsonl"
    line = '{"kind":"phase","t_ns":1,"who":"ue","phase":"probe","state":"begin"}\n'
    path.write_text(line.replace(f'"{missing}"', '"other"'))
    with pytest.raises(KeyError):
        list(read_events(path))
