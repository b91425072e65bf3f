"""A host with a quarter of a CPU takes four times as long for the same work, in a microVM.

On the real clock: the kernel's control groups are tested, and where computing takes no time they
have nothing to divide.
"""

import json
import statistics

import pytest

from tests.e2e.conftest import Guest

pytestmark = [pytest.mark.microvm, pytest.mark.real_clock]

PROGRAM = """
import json, os, subprocess, sys, time
from topologies.machine.cpu_share import CpuShares

WORK = '''
import json, sys, time
sys.stdin.readline()
wall, cpu = time.monotonic(), time.process_time()
sum(i * i for i in range(4_000_000))
print(json.dumps([time.monotonic() - wall, time.process_time() - cpu]))
'''

def work(shares, host):
    process = subprocess.Popen(
        [sys.executable, "-c", WORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    shares.confine(host, process.pid)
    answer, _ = process.communicate("go\\n")
    return json.loads(answer)

with CpuShares({"slow": 0.25}) as shares:
    times = [(work(shares, "fast"), work(shares, "slow")) for _ in range(6)]
mounted = "cgroup2" in open("/proc/self/mounts").read()
print(json.dumps({"times": times, "mounted": mounted}))
"""


def test_a_quarter_of_a_cpu_is_a_quarter_of_the_speed(guest: Guest) -> None:
    result = guest.python(PROGRAM)
    assert result.status == 0, result.output
    record = json.loads(result.output.splitlines()[-1])
    assert not record["mounted"], "the control groups are still mounted"
    for (fast_s, _), (slow_s, _) in record["times"]:
        print(f"whole {fast_s:.2f} s, quarter {slow_s:.2f} s: {slow_s / fast_s:.2f} times")
    fast, slow = zip(*record["times"], strict=True)
    assert min(wall_s / cpu_s for wall_s, cpu_s in fast) == pytest.approx(1, rel=0.1)
    # A guest that stands still while a process waits for its share makes it slower; while one has
    # its share, faster, for the guest takes that time for work.
    ratios = [wall_s / cpu_s for wall_s, cpu_s in slow]
    assert min(ratios) < 4.4 and statistics.median(ratios) > 3.6
    # By the wall's clock alone, whatever the guest takes for work; other machines' slows both.
    assert min(wall_s for wall_s, _ in slow) > 3 * min(wall_s for wall_s, _ in fast)
