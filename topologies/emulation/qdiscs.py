"""Counters of the shaped queues, read from ``tc``'s JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stage_node.records.fidelity import QdiscCounters
from stage_node.records.vocabulary import Direction
from topologies.errors import EmulationError


@dataclass(frozen=True)
class NetemReading:
    """Counters of one netem qdisc: counts since it was made, and the frames it holds now, those in
    the buffer of a direction that varies included. ``buffer_drops`` of that buffer, which netem
    counts among its own, ``None`` where the direction has no such buffer."""

    packets: int
    size_bytes: int
    drops: int
    queued_packets: int
    buffer_drops: int | None = None


def parse_qdiscs(text: str) -> dict[str, NetemReading]:
    """``tc -s -j qdisc show`` -> netem's readings by interface."""
    shown: list[dict[str, Any]] = json.loads(text)
    buffers = {qdisc["dev"]: qdisc for qdisc in shown if qdisc["kind"] == "bfifo"}
    readings = {}
    for qdisc in shown:
        if qdisc["kind"] == "netem":
            buffer = buffers.get(qdisc["dev"])
            readings[qdisc["dev"]] = NetemReading(
                packets=qdisc["packets"],
                size_bytes=qdisc["bytes"],
                drops=qdisc["drops"],
                queued_packets=qdisc["qlen"] + (buffer["qlen"] if buffer else 0),
                buffer_drops=buffer["drops"] if buffer else None,
            )
    return readings


def is_idle(before: Mapping[str, NetemReading], after: Mapping[str, NetemReading]) -> bool:
    """Every queue is empty, and nothing went through any between the two readings."""
    return before == after and not any(each.queued_packets for each in after.values())


def parse_meters(text: str) -> dict[int, int]:
    """``tc -s -j actions show action police`` -> drops by index of the action."""
    answer: list[dict[str, Any]] = json.loads(text) if text.strip() else []
    return {
        action["index"]: action["stats"]["drops"]
        for part in answer
        for action in part.get("actions", ())
    }


def counters_of(
    link: str,
    direction: Direction,
    netem: NetemReading | None,
    meter_drops: int | None,
) -> QdiscCounters:
    """Join both; without meter and buffer (``tclink``) netem's drops cannot be told apart."""
    if netem is None:
        raise EmulationError(f"link {link} has no qdisc for {direction}")
    if netem.buffer_drops is not None:
        dropped, lost = netem.buffer_drops, netem.drops - netem.buffer_drops
    else:
        dropped, lost = (netem.drops, 0) if meter_drops is None else (meter_drops, netem.drops)
    return QdiscCounters(
        link=link,
        direction=direction,
        sent_packets=netem.packets,
        sent_bytes=netem.size_bytes,
        dropped_packets=dropped,
        lost_packets=lost,
    )


def since(before: Sequence[QdiscCounters], after: Sequence[QdiscCounters]) -> list[QdiscCounters]:
    """Subtract two readings of the same queues."""
    counted = ("sent_packets", "sent_bytes", "dropped_packets", "lost_packets")
    return [
        late.model_copy(
            update={name: getattr(late, name) - getattr(early, name) for name in counted}
        )
        for early, late in zip(before, after, strict=True)
    ]
