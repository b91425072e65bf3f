"""A capture is complete or it is said what is missing."""

import pytest

from stage_node.records.captures import CaptureCounters, CaptureTotals
from topologies.emulation.capture import ring_kib, tcpdump_argv
from topologies.emulation.capture_counters import parse_counters, total, verdict
from topologies.links.profiles import catalogue, load_profile

# As tcpdump 4.99 prints it: one line per SIGUSR1, three lines at the end.
LOG = """\
tcpdump: listening on h1-eth0, link-type EN10MB (Ethernet), snapshot length 96 bytes
tcpdump: 29664 packets captured, 30872 packets received by filter, 0 packets dropped by kernel
tcpdump: 30874 packets captured, 30874 packets received by filter, 0 packets dropped by kernel
30875 packets captured
30876 packets received by filter
1 packet dropped by kernel
"""


def counters(captured: int, received: int, dropped: int) -> CaptureCounters:
    return CaptureCounters(
        interface="h1-eth0",
        link="h1-h2",
        captured=captured,
        received_by_filter=received,
        dropped_by_kernel=dropped,
    )


def test_the_last_counters_in_the_log_count() -> None:
    assert parse_counters("h1-eth0", "h1-h2", LOG) == counters(30875, 30876, 1)


def test_the_counters_on_request_are_read_while_it_runs() -> None:
    running = "".join(LOG.splitlines(keepends=True)[:2])
    assert parse_counters("h1-eth0", "h1-h2", running) == counters(29664, 30872, 0)


def test_before_it_prints_counters_there_are_none() -> None:
    assert parse_counters("h1-eth0", "h1-h2", LOG.splitlines()[0]) is None


@pytest.mark.parametrize(
    ("counted", "complete"),
    [
        (counters(5, 5, 0), True),
        (counters(0, 0, 0), True),
        (counters(4, 5, 0), False),  # left in the ring when it ended
        (counters(5, 5, 1), False),  # no room in the ring
    ],
)
def test_complete_means_written_and_not_dropped(counted: CaptureCounters, complete: bool) -> None:
    assert counted.is_complete is complete
    assert (verdict([counted]) == []) is complete


def test_the_reason_names_the_interface_and_the_numbers() -> None:
    (reason,) = verdict([counters(5, 5, 0), counters(4, 6, 2)])
    assert reason == "capture h1-eth0: 4 of 6 frames are in the file, the kernel dropped 2"


def test_totals_add_up_over_all_captures() -> None:
    assert total([counters(1, 2, 3), counters(10, 20, 30)]) == CaptureTotals(
        captured=11, received_by_filter=22, dropped_by_kernel=33
    )


def test_tcpdump_keeps_headers_only_with_nanoseconds_and_owns_no_file() -> None:
    line = " ".join(tcpdump_argv("h1-eth0", 2048))
    for option in (
        "-i h1-eth0",
        "-s 96",
        "-B 2048",
        "-Z root",
        "-w -",
        "--time-stamp-precision=nano",
    ):
        assert option in line


def test_the_ring_holds_seconds_of_traffic_but_not_all_memory() -> None:
    assert ring_kib(load_profile("2g-rural")) == 1024
    lan = ring_kib(load_profile("ethernet-lan"))
    frames_per_s = 2 * 100e6 / 8 / 1514
    assert lan * 1024 / 96 / frames_per_s > 4
    assert all(ring_kib(profile) <= 32 * 1024 for profile in catalogue().values())
