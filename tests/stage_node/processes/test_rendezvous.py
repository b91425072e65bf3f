"""Processes that run at the same time wait for each other, and for nobody else."""

import threading
from pathlib import Path

from stage_node.processes.rendezvous import Company
from stage_node.records.events import EventLog, Message, Reached, read_events


def test_nobody_goes_on_before_all_are_there_and_points_are_not_confused(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    names, passed = ("a", "b", "c"), list[tuple[str, str]]()
    gates = {name: threading.Event() for name in names}

    def work(name: str) -> None:
        with EventLog(path, name) as events:
            company = Company(events, path, [other for other in names if other != name])
            events.emit(Message(text="on my way"))
            for point in ("ready", "done"):
                gates[name].wait(10)
                company.meet(point)
                passed.append((name, point))

    threads = [threading.Thread(target=work, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for name in ("a", "b"):
        gates[name].set()
    threads[0].join(0.3)
    assert passed == []
    gates["c"].set()
    for thread in threads:
        thread.join(10)
    told = [event for event in read_events(path) if isinstance(event, Reached)]
    assert len(passed) == 6
    last_ready = max(event.t_ns for event in told if event.point == "ready")
    assert all(event.t_ns >= last_ready for event in told if event.point == "done")
    assert len(told) == 6


def test_who_has_no_company_neither_waits_nor_tells(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path, "a") as events:
        Company(events, path, []).meet("ready")
    assert list(read_events(path)) == []
