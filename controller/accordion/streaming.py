"""Admission without an estimate: whole blocks in their order until the deadline.

The server decides on a block when the one before has almost gone out, from what its kernel knows
by then. It sends on unless it *knows* that the block would come too late: before the first
round trips have shown the link's rate, only the time that slow start needs at the least counts.
"""

from collections.abc import Mapping

from controller.accordion.estimate import INITIAL_WINDOW_SEGMENTS, SEGMENT_BYTES
from stage_node.delivery import (
    Block,
    ModelRequest,
    NotAdmittedError,
    Sending,
    Streaming,
    configuration_name,
)
from stage_node.models import Configuration

HEADROOM = 0.015
"""Share of the deadline that is kept free: rates vary a little even on a steady link."""
DOUBT = 2.0
"""A block that has begun is given up when even so many times the rate would be too slow."""
CONFLICT, UNSATISFIABLE = 409, 416


def stream(request: ModelRequest, configurations: Mapping[Configuration, int]) -> Streaming:
    """The blocks that the UE lacks, to be sent until its deadline.

    ``configurations`` says how many bytes of the file make each runnable. ``NotAdmittedError``
    where the request wants what this admission does not weigh, or starts past the end.
    """
    if not configurations:
        raise NotAdmittedError(CONFLICT, f"{request.model} has no blocks to stream")
    if request.accuracy is not None:
        raise NotAdmittedError(CONFLICT, "admission=stream knows no accuracies: ask by look-up")
    size = max(configurations.values())
    if request.first_byte > size:
        raise NotAdmittedError(
            UNSATISFIABLE,
            f"{request.model} has {size} bytes; none from byte {request.first_byte} on",
        )
    deadline_ms = request.deadline_ms or 0.0
    most = request.max_bytes or size
    blocks = tuple(
        Block(configuration, end)
        for configuration, end in configurations.items()
        if request.first_byte < end <= most
    )

    def objection(sending: Sending, missing_bytes: int, begun: bool) -> str | None:
        faster = DOUBT if begun else 1.0
        needed_ms = arrival_ms(sending, missing_bytes, faster)
        if needed_ms <= deadline_ms * (1 if begun else 1 - HEADROOM):
            return None
        return (
            f"the next {missing_bytes} bytes would be there after {needed_ms:.0f} ms, deadline_ms="
            f"{deadline_ms:g}"
        )

    if not blocks and request.first_byte < size:
        smallest = next(c for c, end in configurations.items() if end > request.first_byte)
        raise NotAdmittedError(
            CONFLICT,
            f"configuration {configuration_name(smallest)} of {request.model} takes "
            f"{configurations[smallest]} bytes, more than max_bytes={most}",
        )
    return Streaming(request.first_byte, blocks, objection)


def arrival_ms(sending: Sending, missing_bytes: int, faster: float = 1.0) -> float:
    """When ``missing_bytes`` more would be at the UE, after its SYN, were they sent now.

    What the kernel holds goes first. While the link sets the pace, at the latest delivery rate
    times ``faster``, less the way back of the acknowledgements; while TCP's window does, the link
    may carry any rate, and only the round trips that slow start needs at the least count.
    """
    path = sending.path
    one_way_ms = path.min_rtt_ms / 2
    ahead_bytes = sending.unacknowledged_bytes + missing_bytes
    if not path.delivery_rate_mbit or path.window_limited:
        window = max(path.window_bytes, INITIAL_WINDOW_SEGMENTS * SEGMENT_BYTES)
        return (
            sending.elapsed_ms
            + one_way_ms
            + _further_rounds(ahead_bytes, window) * (path.min_rtt_ms)
        )
    byte_ms = 8e-3 / (path.delivery_rate_mbit * faster)
    waiting_ms = max(ahead_bytes * byte_ms - one_way_ms, missing_bytes * byte_ms + one_way_ms)
    return sending.elapsed_ms + waiting_ms


def _further_rounds(size_bytes: int, window_bytes: int) -> int:
    """Round trips before the last of ``size_bytes`` can leave: the window doubles in each."""
    rounds = 0
    while size_bytes > window_bytes:
        size_bytes -= window_bytes
        window_bytes *= 2
        rounds += 1
    return rounds
