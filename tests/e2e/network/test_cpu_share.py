"""A host with a quarter of a CPU takes four times as long for the same work, in a microVM.

On the real clock: the kernel's control groups are tested, and where computing takes no time they
have nothing to divide.
"""

import statistics

import pytest

from tests.e2e.conftest import Guest

pytestmark = [pytest.mark.microvm, pytest.mark.real_clock]


def test_a_quarter_of_a_cpu_is_a_quarter_of_the_speed(guest: Guest) -> None:
    record = guest.facts("network/share_cpu.py")
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
