"""The TCP streams of a run, each from the captures at its two ends."""

from dataclasses import dataclass
from functools import cached_property

from analysis.run.network import LinkDirection, Network
from analysis.run.reader import Run
from analysis.tcp.streams import Flow, Stream, streams


@dataclass(frozen=True)
class TwoEnds:
    """One direction of a connection as its sender's and its receiver's interface saw it."""

    flow: Flow
    sender: Stream
    receiver: Stream
    path: tuple[LinkDirection, ...]


class CapturedStreams:
    """Finds streams by their flow; each capture is taken apart once, when first asked for."""

    def __init__(self, run: Run) -> None:
        self._captures = run.captures
        self._network: Network = run.network
        self._streams: dict[str, dict[Flow, list[Stream]]] = {}

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Interfaces with a capture."""
        return tuple(self._captures)

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """Every flow that any capture holds."""
        found: dict[Flow, None] = {}
        for interface in self._captures:
            found |= dict.fromkeys(self.streams_at(interface))
        return tuple(found)

    def two_ends(self, flow: Flow, at_ns: int) -> TwoEnds | None:
        """The stream that was open at a time; None if it was not captured at both ends.

        The sender's capture is the one where its packets enter their first shaped link, the
        receiver's the one where they leave their last.
        """
        try:
            source, target = self._network.owner(flow.src), self._network.owner(flow.dst)
        except KeyError:
            return None
        path = self._network.path(source, target)
        if not path:
            return None
        sender = self.stream_at(path[0].sender.interface, flow, at_ns)
        receiver = self.stream_at(path[-1].receiver.interface, flow, at_ns)
        if sender is None or receiver is None:
            return None
        return TwoEnds(flow, sender, receiver, path)

    def stream_at(self, interface: str, flow: Flow, at_ns: int) -> Stream | None:
        """One capture's view of the stream that was open at a time."""
        return _open_at(self.streams_at(interface).get(flow, []), at_ns)

    def streams_at(self, interface: str) -> dict[Flow, list[Stream]]:
        """Every stream in one capture."""
        if interface not in self._streams:
            packets = self._captures.get(interface)
            self._streams[interface] = {} if packets is None else streams(packets)
        return self._streams[interface]


def _open_at(candidates: list[Stream], at_ns: int) -> Stream | None:
    """Find, among connections of the same ports, the last that had begun by then."""
    begun = [stream for stream in candidates if stream.first_ns <= at_ns]
    return max(begun or candidates[:1], key=lambda stream: stream.first_ns, default=None)
