"""The virtual clock of a guest: it passes while all sleep, and the machine has no part in it.

How long something took on the machine is seen by the times of files that the guest wrote: those are
the machine's.
"""

import dataclasses
import json

import pytest

from testbed.errors import GuestDiedError
from tests.e2e.conftest import Guest
from tests.e2e.identity.conditions import interrupted_guests

pytestmark = pytest.mark.microvm

SLEEP = """
import sys, time
from pathlib import Path
Path("begun").touch()
before = time.monotonic()
time.sleep(float(sys.argv[1]))
print(time.monotonic() - before)
Path("ended").touch()
"""


def slept_s(guest: Guest, wanted_s: float) -> tuple[float, float]:
    """How long a sleep took on the guest's clock, and on the machine's."""
    result = guest.python(SLEEP, str(wanted_s))
    assert result.status == 0, result.output
    begun, ended = ((guest.directory / name).stat().st_mtime for name in ("begun", "ended"))
    return float(result.output), ended - begun


def on_a_clock(guest: Guest, **limits: float) -> Guest:
    """The guest with another pace or patience."""
    clock = dataclasses.replace(guest.host.virtual, **limits)
    return dataclasses.replace(guest, host=dataclasses.replace(guest.host, virtual=clock))


def test_who_waits_for_the_time_without_sleeping_is_ended_by_name(virtual_guest: Guest) -> None:
    impatient = on_a_clock(virtual_guest, spin_s=2)
    program = "open('/proc/self/comm', 'w').write('spinner')\nwhile True: pass"
    with pytest.raises(GuestDiedError) as end:
        impatient.python(program)
    told = str(end.value)
    assert "the virtual clock stood still for 2 s of processor time" in told
    assert ": spinner waits for the time without sleeping" in told


OVERLAPPING = """
import json, os
from pathlib import Path
from topologies.machine.namespaces import spawn_inside
from topologies.emulation.network import EmulatedNetwork
from topologies.links.profiles import load_profile
from topologies.networks.shapes import chain

NAP = "import time; print(time.monotonic()); time.sleep(2); print(time.monotonic())"
with EmulatedNetwork(chain(["a", "b"], load_profile("lte")), Path("logs")) as net:
    naps = []
    for host in ("a", "b"):
        with open(f"{host}.txt", "wb") as out:
            naps.append(spawn_inside(net.host_pid(host), ["python", "-c", NAP], out, out))
    for nap in naps:
        nap.wait()
times = {host: [float(line) for line in open(f"{host}.txt")] for host in ("a", "b")}
print(json.dumps(times))
"""


def test_processes_of_two_hosts_sleep_at_the_same_time(virtual_guest: Guest) -> None:
    result = virtual_guest.python(OVERLAPPING)
    assert result.status == 0, result.output
    times = json.loads(result.output.splitlines()[-1])
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


STAMPS = """
import time
for number in range(300):
    time.sleep(0.001 * (number % 7))
    sum(range(20_000))
    print(time.time_ns(), time.monotonic_ns())
"""


def test_a_guest_that_is_stopped_again_and_again_has_the_same_time_as_one_that_is_not(
    virtual_guest: Guest,
) -> None:
    quiet = virtual_guest.python(STAMPS)
    with interrupted_guests(virtual_guest.directory):
        disturbed = virtual_guest.python(STAMPS)
    assert quiet.status == disturbed.status == 0
    assert len(quiet.output.splitlines()) == 300
    assert disturbed.output == quiet.output


def test_entropy_is_of_the_seed(virtual_guest: Guest) -> None:
    program = "import os, uuid; print(os.urandom(16).hex(), uuid.uuid4())"
    first, again, other = (
        virtual_guest.run("python", "-c", program, seed=seed).output for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(first) == 32 + 1 + 36 + 1
    assert not set(first.split()) & set(other.split())


def test_a_guest_that_computes_takes_no_time_of_its_own(virtual_guest: Guest) -> None:
    program = """
import time
before = time.monotonic()
sum(number * number for number in range(3_000_000))
print(time.monotonic() - before)
"""
    assert float(virtual_guest.python(program).output) < 1e-3
