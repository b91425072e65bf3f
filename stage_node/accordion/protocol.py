"""Requests of a UE to a model server, and its answers: FIG. 2 of the Accordion paper.

One HTTP/1.1 GET of a prefix-runnable checkpoint. Query parameters say what the application needs
(``max_bytes``, ``deadline_ms``, ``accuracy``); ``Range: bytes=N-`` says that the first N bytes
are there already. The answer is 206 with the missing bytes of one configuration, named in
``Concertina-Configuration``.

With ``admission=stream`` it is not known beforehand where the answer will end, which a 206 would
have to say: it is 200, in chunks (RFC 9112, 7.1), from the byte in ``Concertina-First-Byte`` on.
Without parameters a model is a plain file, whole or by ranges.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from stage_node.accordion.needs import AdmissionName
from stage_node.errors import StageNodeError
from stage_node.records.configuration import Configuration
from stage_node.wire.tcp_info import PathEstimate

FIRST_BYTE_HEADER = "Concertina-First-Byte"
CONFIGURATION_HEADER = "Concertina-Configuration"
ACCURACY_HEADER = "Concertina-Accuracy"
PREDICTED_HEADER = "Concertina-Predicted-Ms"


@dataclass(frozen=True)
class ModelRequest:
    """Steps 1 and 4: a model, and what the application needs.

    ``max_bytes`` bounds the whole model at the UE, ``deadline_ms`` the time from the first packet
    to the last byte, ``accuracy`` is a share (0..1). ``first_byte`` is how much the UE has.
    """

    model: str
    max_bytes: int | None = None
    deadline_ms: float | None = None
    accuracy: float | None = None
    admission: AdmissionName = "lookup"
    first_byte: int = 0


@dataclass(frozen=True)
class Admission:
    """Steps 2 and 5: which configuration the UE gets, and the bytes it lacks.

    No bytes (``first_byte == end_byte``) when the UE has what it asks for. ``estimate_mbit`` and
    ``rtt_ms`` are the link that the decision rests on, known from its ``profile`` or
    ``measured``; ``predicted_ms`` is the time it expects the delivery to take.
    """

    configuration: Configuration
    accuracy: float
    first_byte: int
    end_byte: int
    estimate_mbit: float
    predicted_ms: float
    reason: str
    estimate_source: str = "profile"
    rtt_ms: float | None = None


@dataclass(frozen=True)
class Sending:
    """A response under way: ``elapsed_ms`` since the UE's first SYN as far as the server can
    tell, ``path`` what the kernel measured, ``unacknowledged_bytes`` what it holds or has sent
    without an answer yet."""

    elapsed_ms: float
    unacknowledged_bytes: int
    path: PathEstimate


@dataclass(frozen=True)
class Block:
    """Bytes of one more configuration: the file up to ``end_byte``."""

    configuration: Configuration
    end_byte: int


@dataclass(frozen=True)
class Streaming:
    """Blocks to send in their order while ``objection`` has none.

    ``objection(sending, missing_bytes, begun)`` says why the rest of a block, ``missing_bytes``
    of it, is not to be sent any more, or ``None``; ``begun`` where a part of it has been sent.
    ``refused`` is called when there was one to the first block, so that nothing was sent.
    """

    first_byte: int
    blocks: tuple[Block, ...]
    objection: Callable[[Sending, int, bool], str | None]
    refused: Callable[[], None] = lambda: None


class NotAdmittedError(StageNodeError):
    """The request cannot be met; ``status`` is the HTTP status that says so."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class ByteRange:
    """A satisfiable part of a file: ``first`` to before ``end``."""

    first: int
    end: int


class UnsatisfiableRangeError(Exception):
    """No byte of the file is in the range asked for (RFC 9110, 416)."""


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The one byte range of a ``Range`` header for a file of ``size`` bytes (RFC 9110, 14.1).

    None if the header is to be ignored: absent, of another unit, malformed, or with several
    ranges. ``UnsatisfiableRangeError`` when it starts at or past the end.
    """
    match = re.fullmatch(r"bytes=\s*(\d*)-(\d*)\s*", header or "", re.IGNORECASE | re.ASCII)
    if match is None or not any(match.groups()):
        return None
    first, last = (int(digits) if digits else None for digits in match.groups())
    if first is None:  # the last N bytes
        first, last = max(0, size - (last or 0)), None
    elif last is not None and last < first:
        return None
    if first >= size:
        raise UnsatisfiableRangeError
    return ByteRange(first, size if last is None else min(last + 1, size))
