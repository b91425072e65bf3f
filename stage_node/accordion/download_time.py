"""Least time of a download over TCP: handshake, request, slow start, payload.

The server's admission predicts by it, its estimate of a link inverts it, and the report holds a
download against it. TCP's slow start doubles the window each round trip (RFC 5681, 3.1) from the
initial window (RFC 6928) until the window fills the line; from then on the line's rate decides.
Losses are not modelled.
"""

from dataclasses import dataclass

from stage_node.records.line.transfer_time import serialisation_ms


@dataclass(frozen=True)
class DownloadTime:
    """Parts of the least time of a download, ms."""

    handshake_ms: float
    request_ms: float
    slow_start_ms: float
    payload_ms: float

    @property
    def total_ms(self) -> float:
        """From the client's SYN to the last byte of the response, ms."""
        return self.handshake_ms + self.request_ms + self.slow_start_ms + self.payload_ms


def least_download_time(
    size_bytes: float,
    segment_bytes: int,
    goodput_mbit: float,
    rtt_ms: float,
    window_segments: int,
) -> DownloadTime:
    """Compute the least time for a request and a response of ``size_bytes`` on an idle line.

    ``goodput_mbit`` is the line's rate for payload, ``segment_bytes`` the payload of a full
    segment, ``window_segments`` the server's initial window.
    """
    segment_ms = serialisation_ms(segment_bytes, goodput_mbit)
    return DownloadTime(
        handshake_ms=rtt_ms,
        request_ms=rtt_ms,
        slow_start_ms=slow_start_idle_ms(
            size_bytes, segment_bytes, segment_ms, rtt_ms, window_segments
        ),
        payload_ms=serialisation_ms(size_bytes, goodput_mbit),
    )


def slow_start_idle_ms(
    size_bytes: float, segment_bytes: int, segment_ms: float, rtt_ms: float, window_segments: int
) -> float:
    """Time for which slow start leaves the line idle while ``size_bytes`` are sent, ms.

    ``segment_ms`` is the time of a full segment on the line.
    """
    idle_ms, sent_bytes, window = 0.0, 0, window_segments
    while sent_bytes + window * segment_bytes < size_bytes:
        # The first acknowledgement opens the window a round trip after the round's first segment.
        round_idle_ms = rtt_ms - (window - 1) * segment_ms
        if round_idle_ms <= 0:
            break
        idle_ms += round_idle_ms
        sent_bytes += window * segment_bytes
        window *= 2
    return idle_ms
