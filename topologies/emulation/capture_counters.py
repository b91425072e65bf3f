"""Counters of a capture, and whether it is complete; pure."""

import re
from collections.abc import Iterable, Sequence

from stage_node.records.captures import CaptureCounters, CaptureTotals


def verdict(counters: Iterable[CaptureCounters]) -> list[str]:
    """One reason per incomplete capture; empty where all are complete."""
    return [
        f"capture {each.interface}: {each.captured} of {each.received_by_filter} frames are in "
        f"the file, the kernel dropped {each.dropped_by_kernel}"
        for each in counters
        if not each.is_complete
    ]


def parse_counters(interface: str, link: str, log: str) -> CaptureCounters | None:
    """The last counters in tcpdump's messages; ``None`` before it has printed any."""

    def last(what: str) -> int | None:
        found = re.findall(rf"(\d+) packets? {what}", log)
        return int(found[-1]) if found else None

    captured, received, dropped = (
        last("captured"),
        last("received by filter"),
        last("dropped by kernel"),
    )
    if captured is None or received is None or dropped is None:
        return None
    return CaptureCounters(
        interface=interface,
        link=link,
        captured=captured,
        received_by_filter=received,
        dropped_by_kernel=dropped,
    )


def total(counters: Sequence[CaptureCounters]) -> CaptureTotals:
    """Sum the counters of all captures."""
    return CaptureTotals(
        captured=sum(each.captured for each in counters),
        received_by_filter=sum(each.received_by_filter for each in counters),
        dropped_by_kernel=sum(each.dropped_by_kernel for each in counters),
    )
