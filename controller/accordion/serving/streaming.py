"""Streaming: whole blocks in their order until the deadline, without an estimate beforehand.

The server decides on a block when the one before has almost gone out, from what its kernel knows
by then. As long as slow start hides the link's rate it reckons with the link's estimate;
without one, with the time that slow start needs at the least.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from controller.accordion.serving.link_estimate import (
    RESPONSE_HEADER_BYTES,
    LinkEstimate,
    download_time_ms,
    goodput_mbit,
)
from stage_node.accordion.protocol import (
    Block,
    ModelRequest,
    NotAdmittedError,
    Sending,
    Streaming,
)
from stage_node.records.configuration import Configuration, configuration_name
from stage_node.records.line.transfer_time import serialisation_ms

HEADROOM = 0.04
"""Share of the deadline that is kept free, as by look-up."""
DOUBT = 2.0
"""A block that has begun is given up when even this multiple of the rate would be too slow; a rate
that differs by less from the estimate is taken for the same."""
FASTEST_MBIT = 1e5
CONFLICT, UNSATISFIABLE = 409, 416


def stream(
    request: ModelRequest,
    configurations: Mapping[Configuration, int],
    link: LinkEstimate | None = None,
) -> Streaming:
    """The blocks that the UE lacks, to be sent until its deadline.

    ``configurations`` says how many bytes of the file make each runnable, ``link`` the
    estimate of the UE's link, if there is one is. ``NotAdmittedError`` where the request wants what
    this admission does not weigh, or starts past the end.
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
        needed_ms = arrival_ms(sending, missing_bytes, link, faster)
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


def arrival_ms(
    sending: Sending, missing_bytes: int, link: LinkEstimate | None = None, faster: float = 1.0
) -> float:
    """When ``missing_bytes`` more would be at the UE, after its SYN, were they sent now.

    What the kernel holds goes first. Once the connection has shown another rate of the link than
    the estimate, all that comes at that rate times ``faster``, less the way back of the
    acknowledgements. In slow start it shows none, and for a while after it one that idle moments
    have lowered: then it is the time that a download of this length takes over ``link``, or over
    the fastest there is, and by how much this one is behind such a download.
    """
    path = sending.path
    one_way_ms = path.min_rtt_ms / 2
    ahead_bytes = sending.unacknowledged_bytes + missing_bytes
    believed_mbit = goodput_mbit(link) if link else math.inf
    as_believed = 1 / DOUBT < path.delivery_rate_mbit / believed_mbit < DOUBT
    if path.slow_start or not path.delivery_rate_mbit or as_believed:
        known = link or LinkEstimate(FASTEST_MBIT, path.min_rtt_ms)
        like = replace(known, rate_mbit=known.rate_mbit * faster, rtt_ms=path.min_rtt_ms)
        begun_ms = one_way_ms + path.min_rtt_ms
        if path.acked_bytes > RESPONSE_HEADER_BYTES:
            begun_ms = download_time_ms(path.acked_bytes - RESPONSE_HEADER_BYTES, like) + one_way_ms
        behind_ms = max(0.0, sending.elapsed_ms - begun_ms)
        total_bytes = path.acked_bytes + ahead_bytes - RESPONSE_HEADER_BYTES
        return download_time_ms(max(0, total_bytes), like) + behind_ms
    byte_ms = serialisation_ms(1, path.delivery_rate_mbit * faster)
    waiting_ms = max(ahead_bytes * byte_ms - one_way_ms, missing_bytes * byte_ms + one_way_ms)
    return sending.elapsed_ms + waiting_ms
