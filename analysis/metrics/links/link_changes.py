"""Links that changed while something was measured on them: trace, script or ``link set``."""

from collections.abc import Mapping, Sequence

from analysis.metrics.delivery.transfers import Transfer
from analysis.run.network import LinkDirection
from analysis.run.reader import Run
from analysis.summary.accordion import DownloadSummary
from stage_node.records.events import LinkChanged

DownloadKey = tuple[str, str, int, int, int]
Way = tuple[str, str]


def download_key(download: DownloadSummary) -> DownloadKey:
    """Tell a download from all others of its run: UE, model, round, step, attempt."""
    return (download.ue, download.model, download.round, download.step, download.attempt)


def changed_links(run: Run, transfers: Sequence[Transfer]) -> Mapping[DownloadKey, tuple[str, ...]]:
    """Find the links of each download's path that were not as probed all the while it lasted.

    A link counts if it changed meanwhile, or had changed before and was not as configured again.
    """
    found = {}
    for transfer in transfers:
        event = transfer.event
        names = [
            step.link
            for step in transfer.ends.path
            if _differs(run, step, transfer.begin_ns, transfer.end_ns)
        ]
        key = (event.who, event.model, event.round, event.step, event.attempt)
        found[key] = tuple(dict.fromkeys(names))
    return found


def restorations(run: Run) -> Mapping[Way, int]:
    """Count the changes by which each direction was again as configured."""
    counts: dict[Way, int] = {}
    for change in run.events_of(LinkChanged):
        way = (change.link, change.direction)
        counts[way] = counts.get(way, 0) + is_restoration(run, change)
    return counts


def _differs(run: Run, step: LinkDirection, begin_ns: int, end_ns: int) -> bool:
    mine = [
        change
        for change in run.events_of(LinkChanged)
        if (change.link, change.direction) == (step.link, step.direction)
    ]
    before = [change for change in mine if change.t_ns <= begin_ns]
    if before and not is_restoration(run, before[-1]):
        return True
    return any(begin_ns < change.t_ns < end_ns for change in mine)


def is_restoration(run: Run, change: LinkChanged) -> bool:
    """Return True if a change made its direction again as the experiment configures it."""
    for link in run.network.links:
        if link.name == change.link:
            configured = link.a_to_b if change.direction == "a_to_b" else link.b_to_a
            fields = ("rate_mbit", "delay_ms", "loss_percent")
            return all(getattr(configured, each) == getattr(change, each) for each in fields)
    return False
