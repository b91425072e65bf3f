"""A terminal asks a running emulation through its run directory, and gets an answer."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stage_node.records.events import EventLog, LinkCommanded, read_events
from stage_node.records.link_request import LinkRequest
from stage_node.records.run_directory import RunDirectory
from testbed.errors import BadExperimentError
from testbed.run.directory import create_run_directory
from testbed.run.link_control import find_run, read_setting, values_of
from testbed.run.link_requests import LinkRequests, NoAnswerError, ask
from testbed.run.running_lock import goes_on, going_on
from tests.testbed.run.manifests import a_manifest
from topologies.errors import BadTopologyError
from topologies.links.profiles import load_profile
from topologies.networks.shapes import chain

LTE = load_profile("lte")


class Kernel:
    """Stands for what would apply the changes."""

    def __init__(self) -> None:
        self.spec = chain(["a", "b"], LTE)
        self.applied: list[Any] = []

    def apply(self, change: Any, due_ns: int) -> None:
        self.applied.append(change)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = create_run_directory("t", tmp_path / "run")
    a_manifest().write(directory.manifest)
    return directory


@contextmanager
def emulation(run: RunDirectory, kernel: Kernel) -> Iterator[None]:
    with (
        going_on(run.path),
        EventLog(run.events, "runner") as events,
        LinkRequests(run, kernel, events),  # type: ignore[arg-type]
    ):
        yield


def request(**values: Any) -> LinkRequest:
    return LinkRequest(**{"link": "a-b", "up": {}, "down": {}, "said": "a-b ..."} | values)


def test_a_change_is_applied_and_the_answer_is_an_event_of_the_run(run: RunDirectory) -> None:
    kernel = Kernel()
    with emulation(run, kernel):
        assert ask(run, request(down={"rate_mbit": 2}), timeout_s=10).refusal is None
        again = ask(run, request(down={"loss_percent": 1}), timeout_s=10)
        assert again.refusal is None
    assert [(c.direction, c.profile.down.rate_mbit) for c in kernel.applied] == [
        ("b_to_a", 2),
        ("b_to_a", 2),  # what it was told before still holds
    ]
    assert kernel.applied[-1].profile.down.loss_percent == 1
    assert [e.refusal for e in read_events(run.events) if isinstance(e, LinkCommanded)] == [
        None
    ] * 2
    assert not (run.path / "requests").exists()


def test_a_refusal_says_why_and_changes_nothing(run: RunDirectory) -> None:
    kernel = Kernel()
    with emulation(run, kernel):
        assert "known are a-b" in str(
            ask(run, request(link="b-c", up={"rate_mbit": 1}), 10).refusal
        )
        assert "must not exceed" in str(ask(run, request(up={"jitter_ms": 99}), 10).refusal)
        (run.path / "requests" / "nonsense.json").write_text("{")
        deadline = time.monotonic() + 10
        while (run.path / "requests" / "nonsense.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert not kernel.applied
    *_, last = read_events(run.events)
    assert isinstance(last, LinkCommanded) and "not a request" in str(last.refusal)


def test_a_request_waits_for_the_network_and_is_withdrawn_in_the_end(run: RunDirectory) -> None:
    kernel = Kernel()
    with going_on(run.path), pytest.raises(NoAnswerError, match="its network is not ready yet"):
        ask(run, request(up={"rate_mbit": 1}), timeout_s=0.3)
    (run.path / "requests").mkdir()
    with going_on(run.path), pytest.raises(NoAnswerError, match=r"no answer within 0\.3 s$"):
        ask(run, request(up={"rate_mbit": 1}), timeout_s=0.3)
    (run.path / "requests").rmdir()  # empty again; the emulation makes its own
    with emulation(run, kernel):
        time.sleep(0.3)
    assert not kernel.applied


def test_a_run_that_ends_meanwhile_is_over(run: RunDirectory) -> None:
    over = threading.Event()

    def go_on() -> None:
        with going_on(run.path):
            over.wait()

    thread = threading.Thread(target=go_on)
    thread.start()
    threading.Timer(0.3, over.set).start()
    with pytest.raises(BadExperimentError, match="the run is over"):
        ask(run, request(up={"rate_mbit": 1}), timeout_s=20)
    thread.join()


def test_the_run_that_goes_on_is_found(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadExperimentError, match="no run is under way"):
        find_run(None)
    (tmp_path / "runs").mkdir()
    runs = [create_run_directory("x", tmp_path / "runs" / name) for name in ("one", "two")]
    for each in runs:
        a_manifest().write(each.manifest)
    with going_on(runs[1].path):
        assert goes_on(runs[1].path) and not goes_on(runs[0].path)
        assert find_run(None) == runs[1] == find_run(runs[1].path)
        with going_on(runs[0].path), pytest.raises(BadExperimentError, match=r"several.*one.*two"):
            find_run(None)
    with pytest.raises(BadExperimentError, match="the run is over"):
        find_run(run.path)
    with pytest.raises(BadExperimentError, match="not a run directory"):
        find_run(tmp_path)


def test_a_setting_is_written_like_a_link_of_an_experiment() -> None:
    setting = read_setting(["profile=lte", "rate_mbit=3", "up.delay_ms=9"])
    assert values_of(setting, "up") == LTE.up.model_dump(exclude={"trace"}) | {
        "rate_mbit": 3,
        "delay_ms": 9,
    }
    assert values_of(setting, "down")["delay_ms"] == LTE.down.delay_ms
    assert values_of(read_setting(["up.rate_mbit=1"]), "down") == {}


@pytest.mark.parametrize(
    ("assignments", "reason"),
    [
        (
            ["rate_mbit=0"],
            "rate_mbit: input should be greater than or equal to 0.001, got 0",
        ),
        (["rate=3"], "link set: rate: unknown field; did you mean rate_mbit"),
        (
            ["up.loss_percent=100"],
            "up.loss_percent: input should be less than or equal to 99.9",
        ),
        (["lte"], "link set lte: expected key=value"),
        (["profile=ltee"], "profile 'ltee' is not known; did you mean lte"),
        (["trace=x.csv"], "link set: .*only an experiment file can give a link a trace"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(assignments: list[str], reason: str) -> None:
    with pytest.raises((BadExperimentError, BadTopologyError), match=reason) as refusal:
        read_setting(assignments)
    assert refusal.value.exit_status == 2
