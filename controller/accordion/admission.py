"""Admission: which configuration a UE gets, from the look-up table and an estimate of its link.

Pure functions; policy ``lookup`` of the Accordion paper (steps 2 and 5 of FIG. 2).
"""

import math
from dataclasses import dataclass

from controller.accordion.lookup import LookupEntry, LookupTable
from stage_node.delivery import Admission, ModelRequest, NotAdmittedError, configuration_name

INITIAL_WINDOW_SEGMENTS = 10  # RFC 6928
SEGMENT_BYTES, FRAME_BYTES = 1448, 1514  # Ethernet, IPv4, TCP with timestamps
RESPONSE_HEADER_BYTES = 512
CONFLICT, UNSATISFIABLE = 409, 416


@dataclass(frozen=True)
class LinkEstimate:
    """What the model server believes of a UE's link: rate on the wire and round-trip time."""

    rate_mbit: float
    rtt_ms: float


def download_time_ms(size_bytes: int, link: LinkEstimate) -> float:
    """From the UE's SYN to the last byte of a response of ``size_bytes`` on an idle link.

    One round trip for TCP's handshake, one for the request, then slow start from ten segments,
    doubling each round trip (RFC 5681, RFC 6928), until the window fills the link; from then on
    the link's rate. Losses are not modelled.
    """
    segments = math.ceil((size_bytes + RESPONSE_HEADER_BYTES) / SEGMENT_BYTES)
    segment_ms = FRAME_BYTES * 8 / (link.rate_mbit * 1000)
    elapsed_ms = 2 * link.rtt_ms
    window = INITIAL_WINDOW_SEGMENTS
    round_ms = link.rtt_ms + segment_ms
    while segments > window and window * segment_ms < round_ms:
        elapsed_ms += round_ms
        segments -= window
        window *= 2
    return elapsed_ms + segments * segment_ms


def lookup(request: ModelRequest, table: LookupTable, link: LinkEstimate) -> Admission:
    """The configuration that meets a request; ``NotAdmittedError`` says why none does.

    With a wanted accuracy the smallest configuration that has it, else the most accurate one
    within ``max_bytes`` and ``deadline_ms``; of equals the smaller.
    """
    if request.first_byte > table.entries[-1].end_byte:
        raise NotAdmittedError(
            UNSATISFIABLE,
            f"{request.model} has {table.entries[-1].end_byte} bytes; "
            f"none from byte {request.first_byte} on",
        )
    held = [entry for entry in table.entries if entry.end_byte <= request.first_byte]
    if request.accuracy is not None:
        accurate = [entry for entry in table.entries if entry.accuracy >= request.accuracy]
        if not accurate:
            raise NotAdmittedError(CONFLICT, _too_accurate(request, table))
        if accurate[0] in held:
            return _admission(request, accurate[0], link, "the UE has it already")
        candidates, reason = accurate[:1], f"smallest with accuracy >= {request.accuracy:g}"
    else:
        candidates = [entry for entry in table.entries if entry not in held]
        reason = "most accurate that fits"
    if not candidates:
        return _admission(request, held[-1], link, "the UE has the whole model")
    fitting = [entry for entry in candidates if _misfit(request, entry, link) is None]
    if not fitting:
        raise NotAdmittedError(CONFLICT, _misfit(request, candidates[0], link) or "")
    best = max(fitting, key=lambda entry: (entry.accuracy, -entry.end_byte))
    return _admission(request, best, link, reason)


def _admission(
    request: ModelRequest, entry: LookupEntry, link: LinkEstimate, reason: str
) -> Admission:
    end = max(entry.end_byte, request.first_byte)
    missing = end - request.first_byte
    return Admission(
        configuration=entry.configuration,
        accuracy=entry.accuracy,
        first_byte=request.first_byte,
        end_byte=end,
        estimate_mbit=link.rate_mbit,
        predicted_ms=download_time_ms(missing, link) if missing else 0.0,
        reason=reason,
    )


def _misfit(request: ModelRequest, entry: LookupEntry, link: LinkEstimate) -> str | None:
    """Why a configuration does not fit a request, or None where it does."""
    name = f"configuration {configuration_name(entry.configuration)} of {request.model}"
    if request.max_bytes is not None and entry.end_byte > request.max_bytes:
        return f"{name} takes {entry.end_byte} bytes, more than max_bytes={request.max_bytes}"
    needed_ms = download_time_ms(entry.end_byte - request.first_byte, link)
    if request.deadline_ms is not None and needed_ms > request.deadline_ms:
        return (
            f"{name} takes {needed_ms:.0f} ms at {link.rate_mbit:g} Mbit/s and "
            f"{link.rtt_ms:g} ms round trip, more than deadline_ms={request.deadline_ms:g}"
        )
    return None


def _too_accurate(request: ModelRequest, table: LookupTable) -> str:
    best = max(table.entries, key=lambda entry: (entry.accuracy, -entry.end_byte))
    return (
        f"no configuration of {request.model} has accuracy {request.accuracy:g}; the best, "
        f"{configuration_name(best.configuration)}, has {best.accuracy:.4f}"
    )
