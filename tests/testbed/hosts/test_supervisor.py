"""When a guest is ended for its clock: silence on the real one, computing without end on its own.

Time, the guest's clock and its processor time are played.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from testbed.hosts import supervisor
from testbed.hosts.supervisor import GuestProgress


@dataclass
class PlayedGuest:
    """What the supervisor sees of a guest; ``now`` is the machine's time, seconds."""

    now: float = 1000.0
    clock: int | None = None
    cpu: float = 0.0
    process: str | None = "python3.11"

    def clock_ns(self) -> int | None:
        return self.clock

    def cpu_s(self) -> float:
        return self.cpu

    def present_process(self) -> str | None:
        return self.process

    def let(self, real_s: float, cpu_s: float = 0.0, clock_s: float = 0.0) -> None:
        """Let time pass; the guest's clock stands still where it is not given any."""
        self.now += real_s
        self.cpu += cpu_s
        if clock_s:
            self.clock = (self.clock or 0) + int(clock_s * 1e9)


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedGuest]:
    played = PlayedGuest()
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: played.now)
    return played


def watched(guest: PlayedGuest, **limits: float) -> GuestProgress:
    return GuestProgress(guest, {"watchdog_s": None, "spin_s": None, **limits})


def test_a_virtual_clock_that_moves_is_never_complained_of(guest: PlayedGuest) -> None:
    progress = watched(guest, spin_s=10)
    for _ in range(100):
        guest.let(real_s=9, cpu_s=9, clock_s=0.1)
        assert progress.complaint() is None


def test_computing_without_progress_is_ended_with_the_name_of_the_process(
    guest: PlayedGuest,
) -> None:
    progress = watched(guest, spin_s=10)
    guest.let(real_s=1, cpu_s=1, clock_s=0.1)
    assert progress.complaint() is None
    guest.let(real_s=9.9, cpu_s=9.9)
    assert progress.complaint() is None
    guest.let(real_s=0.2, cpu_s=0.2)
    complaint = progress.complaint()
    assert complaint is not None
    assert "stood still for 10 s of processor time" in complaint
    assert "python3.11 waits for the time without sleeping" in complaint


def test_a_guest_that_the_machine_does_not_run_is_given_its_time(guest: PlayedGuest) -> None:
    progress = watched(guest, spin_s=10)
    guest.let(real_s=1, clock_s=0.1)
    assert progress.complaint() is None
    guest.let(real_s=3600, cpu_s=9)
    assert progress.complaint() is None
    guest.let(real_s=3600, cpu_s=1.1)
    assert progress.complaint() is not None


def test_a_process_that_the_kernel_does_not_name_is_one_all_the_same(guest: PlayedGuest) -> None:
    guest.process = None
    progress = watched(guest, spin_s=10)
    guest.let(real_s=11, cpu_s=11)
    assert ": a process waits for the time" in str(progress.complaint())


def test_a_guest_on_the_real_clock_may_compute_but_not_be_silent(guest: PlayedGuest) -> None:
    progress = watched(guest, watchdog_s=30)
    for _ in range(10):
        guest.let(real_s=29, cpu_s=29, clock_s=29)
        assert progress.complaint() is None
    guest.let(real_s=30.1)
    assert progress.complaint() == "the guest gave no sign of life for 30 s and was ended"
