"""The native host, tried in a microVM on the real clock, which is the native host's only one: there
we are root and the kernel has everything."""

import json

import pytest

pytestmark = [pytest.mark.microvm, pytest.mark.real_clock]

PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
from testbed.hosts.choose import Wish, choose_host

here = Path.cwd()
choice = choose_host(Wish("auto", "real"), lambda: None)

def interfaces():
    return sorted(os.listdir("/sys/class/net"))

def run_in_place(script, **options):
    return choice.host.run(["sh", "-c", script], writable=here, **options)

def sleepers():
    names = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            names.append(comm.read_text().strip())
        except OSError:
            pass
    return names.count("sleep")

before = interfaces()
make = "ip link add name v0 type veth && ip netns add other && touch made && exit 7"
statuses = [
    run_in_place(make),
    run_in_place("kill -9 $$"),
    run_in_place('exit "$WANTED"', env={"WANTED": "3"}),
]

leave = "(setsid sleep 600 &); sleep 600 & touch up; wait"
child = os.fork()
if child == 0:
    run_in_place(leave)
while not (here / "up").exists():
    time.sleep(0.05)
alive = sleepers()
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
deadline = time.monotonic() + 5
while sleepers() and time.monotonic() < deadline:
    time.sleep(0.05)
print(json.dumps({
    "kind": choice.kind,
    "statuses": statuses,
    "made": (here / "made").exists(),
    "new_interfaces": sorted(set(interfaces()) - set(before)),
    "netns": os.listdir("/run/netns") if os.path.isdir("/run/netns") else [],
    "was_alive": alive,
    "is_alive": sleepers(),
}))
"""


def test_native_leaves_no_interface_no_namespace_and_no_process(guest):
    result = guest.python(PROGRAM)
    assert result.status == 0, result.output
    assert json.loads(result.output) == {
        "kind": "native",
        "statuses": [7, 137, 3],
        "made": True,
        "new_interfaces": [],
        "netns": [],
        "was_alive": 2,
        "is_alive": 0,
    }
