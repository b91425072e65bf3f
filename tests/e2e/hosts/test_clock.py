"""The virtual clock of a guest: it passes while all sleep, and the machine has no part in it.

How long something took on the machine is seen by the times of files that the guest wrote: those are
the machine's.
"""

import dataclasses

import pytest

from testbed.errors import GuestDiedError
from tests.e2e.conftest import Guest
from tests.e2e.identity.conditions import interrupted_guests

pytestmark = pytest.mark.microvm


def slept_s(guest: Guest, wanted_s: float) -> tuple[float, float]:
    """How long a sleep took on the guest's clock, and on the machine's."""
    result = guest.program("hosts/timed_sleep.py", str(wanted_s))
    assert result.status == 0, result.output
    begun, ended = ((guest.directory / name).stat().st_mtime for name in ("begun", "ended"))
    return float(result.output), ended - begun


def on_a_clock(guest: Guest, **limits: float) -> Guest:
    """The guest with another pace or patience."""
    clock = dataclasses.replace(guest.host.virtual, **limits)
    return dataclasses.replace(guest, host=dataclasses.replace(guest.host, virtual=clock))


def test_who_waits_for_the_time_without_sleeping_is_ended_by_name(virtual_guest: Guest) -> None:
    impatient = on_a_clock(virtual_guest, spin_s=2)
    with pytest.raises(GuestDiedError) as end:
        impatient.program("hosts/spinner.py")
    told = str(end.value)
    assert "the virtual clock stood still for 2 s of processor time" in told
    assert ": spinner waits for the time without sleeping" in told


def test_processes_of_two_hosts_sleep_at_the_same_time(virtual_guest: Guest) -> None:
    times = virtual_guest.facts("hosts/two_naps.py")
    begins, ends = zip(*times.values(), strict=True)
    assert min(ends) - max(begins) > 1.9
    assert max(ends) - min(begins) < 2.1


def test_a_hundred_seconds_of_sleep_pass_in_no_time(virtual_guest: Guest) -> None:
    virtual_s, real_s = slept_s(virtual_guest, 100)
    assert virtual_s == pytest.approx(100, abs=0.01)
    assert real_s < 5


def test_a_pace_of_two_is_no_more_than_two_seconds_in_one(virtual_guest: Guest) -> None:
    virtual_s, real_s = slept_s(on_a_clock(virtual_guest, pace=2), 4)
    assert virtual_s == pytest.approx(4, abs=0.01)
    assert real_s >= 1.9


def test_a_guest_that_is_stopped_again_and_again_has_the_same_time_as_one_that_is_not(
    virtual_guest: Guest,
) -> None:
    quiet = virtual_guest.program("hosts/stamps.py")
    with interrupted_guests(virtual_guest.directory):
        disturbed = virtual_guest.program("hosts/stamps.py")
    assert quiet.status == disturbed.status == 0
    assert len(quiet.output.splitlines()) == 300
    assert disturbed.output == quiet.output


def test_entropy_is_of_the_seed(virtual_guest: Guest) -> None:
    first, again, other = (
        virtual_guest.program("hosts/entropy.py", seed=seed).output for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(first) == 32 + 1 + 36 + 1
    assert not set(first.split()) & set(other.split())


def test_a_guest_that_computes_takes_no_time_of_its_own(virtual_guest: Guest) -> None:
    assert float(virtual_guest.program("hosts/computing.py").output) < 1e-3
