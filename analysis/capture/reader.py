"""A capture file of either format into one table of packets."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from analysis.capture import pcap, pcapng
from analysis.capture.frames import Damage, Interface
from analysis.capture.packets import PACKET_SCHEMA, decode
from analysis.errors import DamagedCaptureError


@dataclass(frozen=True)
class Capture:
    """A capture file: its packets in the order of the file, and the damage met, if any.

    ``interfaces`` are those that the file describes; the packets' column ``interface`` counts
    them.
    """

    packets: pl.DataFrame
    interfaces: tuple[Interface, ...]
    damage: Damage | None


def read_capture(path: Path) -> Capture:
    """Read a pcap or pcapng file into a table with the columns of ``PACKET_SCHEMA``.

    A truncated or damaged file is read up to the damage. Raises ``DamagedCaptureError`` when
    there is nothing to read: no file header, an unknown magic number, no Ethernet.
    """
    interfaces: list[Interface] = []
    tables = [pl.DataFrame(schema=PACKET_SCHEMA)]
    with path.open("rb", buffering=0) as file:
        magic = file.read(4)
        file.seek(0)
        try:
            if magic == pcapng.MAGIC:
                frames = pcapng.read_pcapng(file, interfaces)
            elif magic in pcap.MAGIC:
                frames = pcap.read_pcap(file, interfaces)
            elif len(magic) < 4:
                raise DamagedCaptureError(f"{len(magic)} bytes are too short for a capture")
            else:
                raise DamagedCaptureError(f"not a pcap file (magic number {magic.hex()})")
            while True:
                tables.append(decode(next(frames)))
        except StopIteration as end:
            damage: Damage | None = end.value
        except DamagedCaptureError as error:
            raise DamagedCaptureError(f"{path}: {error}") from None
    return Capture(pl.concat(tables, rechunk=True), tuple(interfaces), damage)
