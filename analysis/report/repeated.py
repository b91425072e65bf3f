"""Downloads that one step of a UE asked for, round after round: median, spread, and each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from analysis.metrics.links.link_changes import DownloadKey, download_key
from analysis.summary.accordion import Accordion, DeadlineRequest, DownloadSummary


@dataclass(frozen=True)
class Spread:
    """Median, least and most of some values."""

    median: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float | None]) -> "Spread | None":
        """Summarise the values that are there; None if there is none."""
        known = [value for value in values if value is not None]
        return cls(median(known), min(known), max(known), len(known)) if known else None


@dataclass(frozen=True)
class StepDownloads:
    """All downloads of one step of one UE, its rounds and their attempts in the order of time.

    ``requests`` are the step's requests with a deadline. ``links`` that changed meanwhile are those
    of ``changed_downloads``, which were not all the while as they had been probed.
    """

    ue: str
    step: int
    downloads: tuple[DownloadSummary, ...]
    requests: tuple[DeadlineRequest, ...]
    links: tuple[str, ...]
    changed_downloads: int

    @property
    def duration_ms(self) -> Spread | None:
        """From the first SYN to the last payload byte, ms."""
        return Spread.of([download.duration_ms for download in self.downloads])

    @property
    def excess(self) -> Spread | None:
        """Duration over the least time that could be expected, less 1."""
        return Spread.of([download.excess for download in self.downloads])

    @property
    def useful_share(self) -> Spread | None:
        """Bytes of the blocks that were there in time, of those that could have been."""
        return Spread.of([request.useful_share for request in self.requests])

    @property
    def met(self) -> int:
        """Requests that were answered within their deadline."""
        return sum(request.met for request in self.requests)


def by_step(
    accordion: Accordion, changed: Mapping[DownloadKey, tuple[str, ...]]
) -> tuple[StepDownloads, ...]:
    """Group downloads and requests by UE and step, the UEs by name."""
    keys = {(download.ue, download.step) for download in accordion.downloads}
    keys |= {(request.ue, request.step) for request in accordion.requests}
    return tuple(_group(accordion, changed, ue, step) for ue, step in sorted(keys))


def _group(
    accordion: Accordion, changed: Mapping[DownloadKey, tuple[str, ...]], ue: str, step: int
) -> StepDownloads:
    downloads = [d for d in accordion.downloads if (d.ue, d.step) == (ue, step)]
    links = [changed.get(download_key(download), ()) for download in downloads]
    return StepDownloads(
        ue=ue,
        step=step,
        downloads=tuple(downloads),
        requests=tuple(r for r in accordion.requests if (r.ue, r.step) == (ue, step)),
        links=tuple(dict.fromkeys(name for each in links for name in each)),
        changed_downloads=sum(bool(each) for each in links),
    )
