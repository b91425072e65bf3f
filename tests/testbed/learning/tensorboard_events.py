"""Reads TensorBoard's event files by their format, independently of the library that wrote them.

A file is a sequence of records (length u64, its CRC u32, a protobuf ``Event``, its CRC u32).
"""

import struct
from collections import defaultdict
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event


def scalars(logs: Path) -> dict[str, list[tuple[int, float]]]:
    """Step and value of every scalar, by tag, in the order of writing."""
    values = defaultdict(list)
    for file in logs.glob("events.out.tfevents.*"):
        content = file.read_bytes()
        while content:
            (size,) = struct.unpack_from("<Q", content)
            event = Event.FromString(content[12 : 12 + size])
            content = content[12 + size + 4 :]
            for value in event.summary.value:
                values[value.tag].append((event.step, value.simple_value))
    return values
