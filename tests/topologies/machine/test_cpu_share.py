"""What a share of a CPU is to the kernel, and where there can be none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.machine.cpu_share import LEAST_QUOTA_US, cgroup2_mount, cpu_max, obstacle


@given(st.floats(0.01, 1))
def test_a_share_is_the_kernels_quota_over_its_period(share: float) -> None:
    quota_us, period_us = map(int, cpu_max(share).split())
    assert quota_us >= LEAST_QUOTA_US
    assert 1_000 <= period_us <= 100_000  # what cpu.max accepts without a privilege of its own
    assert quota_us / period_us == pytest.approx(share, rel=0.01)


def test_control_groups_are_where_the_kernel_says_they_are_mounted() -> None:
    mounts = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"
    assert str(cgroup2_mount(mounts)) == "/sys/fs/cgroup"
    assert cgroup2_mount("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n") is None


@pytest.mark.parametrize(
    ("cpu", "reason"),
    [
        ("cpu\t0\t30\t1", None),
        ("cpu\t4\t30\t1", "cgroup v1 holds the CPU controller"),
        ("cpu\t0\t30\t0", "the kernel has no control group for CPU time"),
        ("cpuset\t0\t30\t1", "the kernel has no control group for CPU time"),
    ],
)
def test_where_no_share_can_be_had_the_reason_is_told(cpu: str, reason: str | None) -> None:
    assert obstacle("", f"#subsys_name\thierarchy\tnum_cgroups\tenabled\n{cpu}\n") == reason
