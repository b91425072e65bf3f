"""``concertina fidelity`` from the outside: what may be asked for, and what is told at the end."""

import dataclasses
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from rich.console import Console
from scipy.stats import binomtest

from testbed.errors import (
    BadExperimentError,
    GuestDiedError,
    HostUnavailableError,
    RunInterruptedError,
)
from testbed.fidelity import run as fidelity_run
from testbed.fidelity.run import check_tools, chosen_profiles, measure_fidelity
from testbed.fidelity.table import conclusion, fidelity_table
from testbed.hosts.choose import ChosenHost, HostWish
from testbed.hosts.machine import KERNEL_TRIALS, TOOL_PACKAGES, Machine
from topologies.errors import BadTopologyError
from topologies.fidelity.claims import (
    FidelityReport,
    LossClaim,
    ProfileFidelity,
    RttClaim,
    SaturationClaim,
)
from topologies.links.profiles import LinkProfile, catalogue, load_profile

MACHINE = Machine(
    root=True,
    tools={name: f"/usr/bin/{name}" for name in TOOL_PACKAGES},
    kernel=dict.fromkeys(KERNEL_TRIALS),
    guest_modules=True,
)
MINE = """
home:
  down: {rate_mbit: 50, delay_ms: 8}
  up: {rate_mbit: 10, delay_ms: 8}
  source: my own measurement
  latency: 16 ms RTT, halved
cellar:
  down: {rate_mbit: 5, delay_ms: 8}
  up: {rate_mbit: 1, delay_ms: 8}
  source: my own measurement
  latency: 16 ms RTT, halved
"""


def measured(profile: LinkProfile, rtt_ms: float) -> ProfileFidelity:
    """As a host leaves it, with one round trip and one of every other claim."""
    rate = SaturationClaim(
        what="rate",
        way="down",
        tool="TCP",
        configured=240,
        expected=229.5,
        tolerance_share=0.005,
        needed_mbit=229.5,
        attempts=(160.0,),
        carried_mbit=250.0,
    )
    return ProfileFidelity(
        profile=profile,
        rates=(rate,),
        rtt=RttClaim(sent=20, received=20, expected_ms=70.1, measured_ms=rtt_ms, tolerance_ms=0.85),
        losses=(LossClaim(way="up", configured_percent=1, sent=4998, lost=46),),
        queues=(rate.model_copy(update={"what": "queue", "attempts": (229.5,)}),),
    )


class PlayedHost:
    """Answers for each profile in turn instead of an emulation."""

    kind: ClassVar[str] = "microvm"

    def __init__(self, answers: Mapping[str, Callable[[Path], int]]) -> None:
        self._answers = answers

    def run(
        self,
        command: Sequence[str],
        *,
        writable: Path,
        readable: Mapping[str, Path] | None = None,
        env: Mapping[str, str] | None = None,
        output: Path | None = None,
        seed: int = 1,
    ) -> int:
        name, clock = command[-2:]
        assert clock == "real"
        return self._answers[name](writable / name)


def leaves(name: str, rtt_ms: float) -> Callable[[Path], int]:
    def run(folder: Path) -> int:
        text = measured(load_profile(name), rtt_ms).model_dump_json(round_trip=True)
        (folder / "fidelity.json").write_text(text)
        return 0

    return run


def dies(folder: Path) -> int:
    raise GuestDiedError("microvm: the guest gave no sign of life")


def is_interrupted(folder: Path) -> int:
    signal.raise_signal(signal.SIGINT)
    return 0


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def play(**answers: Callable[[Path], int]) -> None:
        choice = ChosenHost(PlayedHost(answers), "played")
        monkeypatch.setattr(fidelity_run, "examine_machine", lambda: MACHINE)
        monkeypatch.setattr(fidelity_run, "choose", lambda wish, machine, kernel: choice)

    return play


def test_the_whole_catalogue_is_meant_where_nothing_is_said() -> None:
    assert [profile.name for profile in chosen_profiles([])] == list(catalogue())


def test_a_users_own_profiles_are_named_by_their_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(MINE)
    assert [each.name for each in chosen_profiles(["lte", f"{file}:home"])] == ["lte", "home"]
    assert [each.name for each in chosen_profiles([str(file)])] == ["home", "cellar"]
    with pytest.raises(BadTopologyError, match=r"mine.yaml: profile 'hom' .*did you mean home\?"):
        chosen_profiles([f"{file}:hom"])
    with pytest.raises(BadExperimentError, match="'home' is given twice") as refusal:
        chosen_profiles([str(file), f"{file}:home"])
    assert refusal.value.exit_status == 2


def test_without_iperf3_nothing_starts_and_the_fix_is_told() -> None:
    without = dataclasses.replace(MACHINE, tools={**MACHINE.tools, "iperf3": None})
    with pytest.raises(HostUnavailableError, match=r"not installed: iperf3; fix: apt-get install"):
        check_tools(without)
    check_tools(MACHINE)


def test_a_profile_whose_host_died_does_not_keep_the_others_from_it(
    host: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host(lte=dies, dsl=lambda folder: 3, cable=leaves("cable", 70.4))
    out = tmp_path / "out"
    assert measure_fidelity(["lte", "dsl", "cable"], HostWish(), out, as_json=True) == 1
    report = FidelityReport.model_validate_json(capsys.readouterr().out)
    assert report == FidelityReport.model_validate_json((out / "fidelity.json").read_text())
    lte, dsl, cable = report.profiles
    assert lte.failure == "microvm: the guest gave no sign of life"
    assert dsl.failure is not None and "status 3" in dsl.failure
    assert (cable.failure, cable.verdict) == (None, "not measurable")


def test_what_cannot_be_measured_is_said_and_no_failure(
    host: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host(lte=leaves("lte", 70.4))
    assert measure_fidelity(["lte"], HostWish(), tmp_path / "out", as_json=False) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "0 of 1 profiles are what they claim" in told
    assert "lte: not measurable, 0 s" in told  # at once, before the table
    assert "lte: not measurable: rate down is 160 Mbit/s" in told
    assert "the host itself carries 250 Mbit/s" in told


def test_an_interruption_keeps_what_was_measured(host: Callable[..., None], tmp_path: Path) -> None:
    host(lte=leaves("lte", 70.4), dsl=is_interrupted)
    with pytest.raises(RunInterruptedError, match="after 1 of 2 profiles") as end:
        measure_fidelity(["lte", "dsl"], HostWish(), tmp_path / "out", as_json=True)
    assert end.value.exit_status == 130
    kept = json.loads((tmp_path / "out" / "fidelity.json").read_text())
    assert [each["profile"]["name"] for each in kept["profiles"]] == ["lte"]


def test_the_table_has_every_claim_with_its_error() -> None:
    edge = load_profile("edge")
    profiles = (measured(edge, 75.0), ProfileFidelity(profile=edge, failure="iperf3: no [route]"))
    report = FidelityReport(host="microvm", started="now", profiles=profiles)
    console = Console(width=160)
    with console.capture() as captured:
        console.print(fidelity_table(report))
    cells = [
        [cell.strip() for cell in line.split("│")] for line in captured.get().splitlines()[4:-1]
    ]
    claims = {line[2]: line[3:-1] for line in cells if len(line) > 2}
    assert claims["rate down"] == [
        *("240 Mbit/s", "229.5 Mbit/s", "160 Mbit/s", "-30.2832%", "± 0.50%", "TCP, attempt 1"),
        "not measurable",
    ]
    assert claims["shortest RTT"][1:5] == ["70.100 ms", "75.000 ms", "+4.900 ms", "± 0.850 ms"]
    theirs = binomtest(46, 4998).proportion_ci(0.99, method="exact")
    assert claims["loss up"][:3] == [
        *("1 %", f"in {100 * theirs.low:.2f} to {100 * theirs.high:.2f} %", "0.92 %")
    ]
    assert claims["queue down"][0] == "240 B"
    assert claims["failed"][-1] == "fail"
    assert "iperf3: no [route]" in conclusion(report)
