"""Logs every frame as one end of a connection saw it: the rows of the ledger's ``frames``."""

import socket
from collections.abc import Mapping
from typing import Self

import numpy as np
import numpy.typing as npt

from stage_node.records.ledger import CODEC_BYTES, FRAMES, Ledger, Rows, Table
from stage_node.wire.codecs import Codec
from stage_node.wire.frame import HEADER_BYTES, FrameKind, Header


def _lookup(names: Mapping[int, str]) -> npt.NDArray[np.bytes_]:
    """Text of every number that fits the header's one byte."""
    return np.array([names.get(number, "").lower() for number in range(256)], f"S{CODEC_BYTES}")


KIND_NAMES = _lookup({kind: kind.name for kind in FrameKind})
CODEC_NAMES = _lookup({codec.number: codec.name for codec in Codec.all()})


class FrameLog:
    """Frames of one connection as one of its ends saw them.

    ``cut`` is ``NOT_A_CUT`` for a connection that is none; ``peer`` is set once it is known.
    """

    COLUMNS = (
        *("kind", "codec", "sequence", "generation", "samples"),
        *("first_byte", "end_byte", "payload_bytes"),
        *("t_queued_ns", "t_begin_ns", "t_end_ns"),
    )

    def __init__(self, node: str, cut: int, sock: socket.socket, peer: str = "") -> None:
        self.peer = peer
        self._node = node
        self._cut = cut
        self._local, self._remote = sock.getsockname()[:2], sock.getpeername()[:2]
        self._sent, self._received = Rows(self.COLUMNS), Rows(self.COLUMNS)

    @classmethod
    def of(cls, ledger: Ledger, cut: int, sock: socket.socket, peer: str = "") -> Self:
        """Begin the log of a connection whose frames are saved with a ledger's tables."""
        log = cls(ledger.process, cut, sock, peer)
        ledger.collect(log)
        return log

    def sent(
        self, header: Header, first: int, t_queued_ns: int, t_begin_ns: int, t_end_ns: int
    ) -> None:
        """A frame went out at offset ``first`` of the outgoing stream."""
        self._sent.append(*_described(header, first), t_queued_ns, t_begin_ns, t_end_ns)

    def received(self, header: Header, first: int, t_begin_ns: int, t_end_ns: int) -> None:
        """A frame came in at offset ``first`` of the incoming stream."""
        self._received.append(*_described(header, first), 0, t_begin_ns, t_end_ns)

    def table(self) -> Table:
        """All frames, those sent first."""
        return np.concatenate(
            [self._table("send", self._sent), self._table("recv", self._received)]
        )

    def _table(self, direction: str, rows: Rows) -> Table:
        return rows.table(
            FRAMES,
            names={"kind": KIND_NAMES, "codec": CODEC_NAMES},
            node=self._node,
            peer=self.peer,
            direction=direction,
            cut=self._cut,
            local_ip=self._local[0],
            local_port=self._local[1],
            peer_ip=self._remote[0],
            peer_port=self._remote[1],
        )


def _described(header: Header, first: int) -> tuple[int, ...]:
    return (
        header.kind,
        header.codec,
        header.sequence,
        header.generation,
        header.shape[0] if header.shape else 0,
        first,
        first + HEADER_BYTES + header.payload_bytes,
        header.payload_bytes,
    )
