"""A download as the captures show it, and the least time it can take."""

from dataclasses import asdict, dataclass

import numpy as np

from analysis.run.reader import Run
from analysis.summary.accordion import ExpectedDownload
from analysis.tcp.connections import TwoEnds
from stage_node.accordion.download_time import least_download_time
from stage_node.records.events import (
    ConfigurationEvaluated,
    ConfigurationReady,
    DownloadEnded,
    WindowOpened,
)
from stage_node.records.line.ethernet import INITIAL_WINDOW_SEGMENTS
from stage_node.records.line.transfer_time import bytes_per_ms


@dataclass(frozen=True)
class Transfer:
    """A download found in the captures."""

    event: DownloadEnded
    ends: TwoEnds
    request: TwoEnds | None

    @property
    def begin_ns(self) -> int:
        """The UE's first SYN."""
        return self.ends.receiver.syn_ns

    @property
    def end_ns(self) -> int:
        """The last payload byte at the UE, all bytes before it having come."""
        return int(self.ends.receiver.coverage.complete_ns[-1])

    @property
    def header_bytes(self) -> int:
        """HTTP header, as the UE read it, or what the response holds beside the part of the file.

        Of a stream, the few bytes around each chunk are not among them.
        """
        if self.event.header_bytes is not None:
            return self.event.header_bytes
        return self.ends.receiver.payload_bytes - (self.event.end_byte - self.event.first_byte)


def expected_download(
    size_bytes: int,
    segment_bytes: int,
    goodput_mbit: float,
    rtt_ms: float,
    window_segments: int = INITIAL_WINDOW_SEGMENTS,
) -> ExpectedDownload:
    """The least time for a request and a response of ``size_bytes``; see ``ExpectedDownload``."""
    least = least_download_time(size_bytes, segment_bytes, goodput_mbit, rtt_ms, window_segments)
    return ExpectedDownload(**asdict(least), total_ms=least.total_ms)


@dataclass(frozen=True)
class ProbedPath:
    """The probe's measurements of a transfer's path, and the server's initial window."""

    goodput_mbit: float
    rtt_ms: float
    segment_bytes: int
    window_segments: int

    def least(self, size_bytes: int) -> ExpectedDownload:
        """The least time for a response of ``size_bytes``."""
        return expected_download(
            size_bytes, self.segment_bytes, self.goodput_mbit, self.rtt_ms, self.window_segments
        )

    def carried_by(self, deadline_ms: float) -> int:
        """The longest response, in bytes, for which the least time is within a deadline."""
        low, high = 0, int(bytes_per_ms(self.goodput_mbit) * deadline_ms) + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (
                (middle, high) if self.least(middle).total_ms <= deadline_ms else (low, middle)
            )
        return low


def probed_path(run: Run, transfer: Transfer) -> ProbedPath | None:
    """From the probe alone: this connection's own handshake could excuse a slow download."""
    path = transfer.ends.path
    goodputs_mbit = [run.fidelity.goodput_mbit(s.link, s.direction) for s in path]
    rtts_ms = [run.fidelity.rtt_ms(s.link) for s in path]
    known_mbit = [goodput for goodput in goodputs_mbit if goodput]
    known_ms = [rtt for rtt in rtts_ms if rtt is not None]
    if not path or len(known_mbit) < len(path) or len(known_ms) < len(path):
        return None
    stream = transfer.ends.receiver
    mine = addresses(run, transfer.event.who)
    opened = [event.segments for event in run.events_of(WindowOpened) if event.ue in mine]
    return ProbedPath(
        goodput_mbit=min(known_mbit),
        rtt_ms=sum(known_ms),
        segment_bytes=int((stream.end - stream.begin).max()),
        window_segments=opened[-1] if opened else INITIAL_WINDOW_SEGMENTS,
    )


def expected_transfer(run: Run, transfer: Transfer) -> ExpectedDownload | None:
    """The least time for what was transferred; None if the probe lacks the path."""
    path = probed_path(run, transfer)
    return path.least(transfer.ends.receiver.payload_bytes) if path else None


def first_evaluations(run: Run) -> dict[tuple[str, int, tuple[int, ...]], ConfigurationEvaluated]:
    """When each configuration first ran, by UE, round and configuration."""
    return {
        (event.who, event.round, event.configuration): event
        for event in reversed(run.events_of(ConfigurationEvaluated))
    }


def delivered(ready: ConfigurationReady, transfers: tuple[Transfer, ...]) -> int | None:
    """When the configuration's last byte was at the UE, by its capture; monotonic ns."""
    for transfer in transfers:
        event = transfer.event
        if (event.who, event.model, event.round) != (ready.who, ready.model, ready.round):
            continue
        if event.first_byte < ready.file_bytes <= event.end_byte and ready.t_ns <= event.t_ns:
            offset = transfer.header_bytes + ready.file_bytes - event.first_byte
            return int(transfer.ends.receiver.time_delivered(np.array([offset]))[0])
    return None


def addresses(run: Run, host: str) -> set[str]:
    """Addresses of all of a host's interfaces; none of a host that is not in the network."""
    return set(run.network.hosts[host].interfaces.values()) if host in run.network.hosts else set()
