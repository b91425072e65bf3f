"""``concertina repeat``: what cannot be repeated is refused in one line, and nothing is started."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from stage_node.records.run_directory import RunDirectory
from stage_node.records.vocabulary import ClockKind
from testbed.errors import BadExperimentError, RunFailedError
from testbed.hosts.choose import ChosenHost, HostWish
from testbed.hosts.microvm import MicroVm, VirtualClock
from testbed.kernel.guest_kernel import GuestKernel
from testbed.planning.plan import RunPlan
from testbed.run import repeat
from testbed.run.directory import create_run_directory
from testbed.run.manifest import describe_code
from testbed.run.repeat import differences_of_machines, repeat_run
from tests.analysis.tcp.tcp_simulator import write_pcap
from tests.testbed.run.manifests import a_manifest
from topologies.links.profiles import load_profile
from topologies.networks.shapes import chain

FRAMES = [(10**18 + number, bytes([number]) * 60) for number in range(3)]
KERNEL = GuestKernel(
    folder=Path("/cache/6.12.117"),
    origin="built",
    version="6.12.117",
    sha256="5" * 64,
    size_bytes=1,
    configuration_hash="c" * 64,
)


def a_run(place: Path, clock: ClockKind = "virtual") -> RunDirectory:
    """What a run leaves, as far as its repetition looks at it."""
    run = create_run_directory("first", place)
    network = chain(["a", "b"], load_profile("lte"))
    plan = RunPlan(clock=clock, seed=7, network=network, modules=(), phases=())
    run.plan.write_text(plan.model_dump_json())
    manifest = a_manifest(name="first", guest_kernel=KERNEL, code=describe_code())
    manifest.write(run.manifest)
    write_pcap(run.captures / "a-eth0.pcap", FRAMES)
    return run


class PlayedRun:
    """Stands in for the emulation; remembers what it began with."""

    def __init__(self) -> None:
        self.frames = FRAMES
        self.status = 0
        self.wish: HostWish | None = None
        self.began_with: set[str] = set()
        self.seed: int | None = None

    def choose(self, wish: HostWish, kernel: object) -> ChosenHost:
        self.wish = wish
        return ChosenHost(MicroVm(virtual=VirtualClock(KERNEL)), "played")

    def emulate(self, plan: RunPlan, run: RunDirectory, *_: object) -> int:
        self.began_with = {path.name for path in run.path.iterdir()} - run.made_by_a_run
        self.seed = plan.seed
        write_pcap(run.captures / "a-eth0.pcap", self.frames)
        return self.status


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> PlayedRun:
    played = PlayedRun()
    monkeypatch.setattr(repeat, "choose_host", played.choose)
    monkeypatch.setattr(repeat, "emulate", played.emulate)
    return played


def repeated(run: RunDirectory, out: Path | None = None) -> tuple[int, str]:
    console = Console(record=True, width=200)
    return repeat_run(run.path, out, console), console.export_text()


def lose_manifest(run: RunDirectory) -> None:
    run.manifest.unlink()


def spoil_plan(run: RunDirectory) -> None:
    run.plan.write_text('{"seed": "none"}')


def lose_captures(run: RunDirectory) -> None:
    shutil.rmtree(run.captures)


@pytest.mark.parametrize(
    ("clock", "spoil", "message"),
    [
        ("virtual", lose_manifest, "not a run directory"),
        ("virtual", spoil_plan, "not the plan of a run"),
        ("virtual", lose_captures, "has no captures to compare with"),
        ("real", lambda run: None, "ran on the real clock"),
    ],
)
def test_what_cannot_be_repeated_is_refused_in_one_line(
    clock: ClockKind,
    spoil: Callable[[RunDirectory], None],
    message: str,
    second: PlayedRun,
    tmp_path: Path,
) -> None:
    run = a_run(tmp_path / "first", clock)
    spoil(run)
    with pytest.raises(BadExperimentError) as refusal:
        repeat_run(run.path, tmp_path / "second", Console(quiet=True))
    assert str(refusal.value).startswith(f"{run.path}: {message}")
    assert len(str(refusal.value).splitlines()) == 1 and refusal.value.exit_status == 2
    assert second.wish is None and not (tmp_path / "second").exists()


def test_a_place_that_is_not_there_is_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(BadExperimentError, match="nowhere: not a run directory"):
        repeat_run(tmp_path / "nowhere", None, Console(quiet=True))


def test_the_second_run_begins_with_what_the_first_began_with_and_is_the_same(
    second: PlayedRun, tmp_path: Path
) -> None:
    run = a_run(tmp_path / "first")
    (run.models / "2").mkdir(parents=True)
    (run.models / "2/m.safetensors").touch()
    (run.path / "summary.json").touch()
    status, said = repeated(run)
    assert status == 0 and "identical: 3 packets in 1 captures" in said
    assert second.wish == HostWish("microvm", "virtual")
    assert second.seed == 7
    assert second.began_with == {"plan.json", "models", run.link_requests.name}


def test_the_first_packet_that_differs_is_shown_from_both(
    second: PlayedRun, tmp_path: Path
) -> None:
    second.frames = [FRAMES[0], (FRAMES[1][0] + 1, FRAMES[1][1]), FRAMES[2]]
    status, said = repeated(a_run(tmp_path / "first"), tmp_path / "second")
    assert status == 1
    different, first, other = said.splitlines()[-3:]
    assert different == "different: packet 2 of a-eth0.pcap is the first"
    assert f"first run:  {FRAMES[1][0]} ns" in first
    assert f"second run: {FRAMES[1][0] + 1} ns" in other
    assert (tmp_path / "second/captures/a-eth0.pcap").exists()


def test_a_run_that_ended_early_is_told_by_the_packets_that_are_missing(
    second: PlayedRun, tmp_path: Path
) -> None:
    second.frames = FRAMES[:2]
    status, said = repeated(a_run(tmp_path / "first"))
    assert status == 1 and "second run: has no such packet" in said


def test_a_second_run_that_failed_says_so(second: PlayedRun, tmp_path: Path) -> None:
    second.status = 3
    with pytest.raises(RunFailedError, match="the second run failed: the emulation ended with"):
        repeated(a_run(tmp_path / "first"))


def test_another_kernel_or_commit_is_noted_and_the_same_ones_are_not() -> None:
    choice = ChosenHost(MicroVm(virtual=VirtualClock(KERNEL)), "played")
    code = describe_code()
    same = a_manifest(guest_kernel=KERNEL, code=code.model_copy(update={"git_dirty": False}))
    notes = list(differences_of_machines(same, choice))
    assert notes == ["the code was changed since its commit, in the first run or now"] * bool(
        code.git_dirty
    )
    elsewhere = a_manifest(
        guest_kernel=KERNEL.model_copy(update={"version": "6.8"}),
        code=code.model_copy(update={"git_commit": "f" * 40}),
    )
    kernel, commit = differences_of_machines(elsewhere, choice)
    assert "first run's kernel was 6.8" in kernel and "6.12.117" in kernel
    assert f"of commit {'f' * 12}" in commit


def test_everything_that_a_run_makes_is_known(tmp_path: Path) -> None:
    """Else it would be copied into the second run's directory as if it had been there before."""
    run = RunDirectory(tmp_path)
    made = {
        run.manifest, run.events, run.network, run.fidelity, run.failure, run.captures,
        run.capture_counters, run.ledger, run.logs, run.report,
    }  # fmt: skip
    assert {path.name for path in made} <= run.made_by_a_run
