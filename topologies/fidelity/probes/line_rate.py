"""The rate of a saturated line, by tcpdump's stamps of what comes out of it.

A full line passes on one frame after the other, so the time between two stamps is that of the
frames after the first of them, to nanoseconds: iperf3's own account has a frame more or less.
"""

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from topologies.errors import EmulationError
from topologies.machine.namespaces import spawn_inside

START_TIMEOUT_S = 10.0
POLL_S = 0.01
RING_KIB = 16 * 1024
_DATAGRAM = re.compile(r"^(\d+)\.(\d{9}) IP .* UDP, length (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Datagram:
    """When a datagram came, in nanoseconds, and its payload."""

    stamp_ns: int
    payload_bytes: int


def parse_datagrams(text: str) -> tuple[Datagram, ...]:
    """Read the lines of ``tcpdump -tt`` that are of UDP datagrams."""
    return tuple(
        Datagram(int(seconds) * 10**9 + int(nanoseconds), int(length))
        for seconds, nanoseconds, length in _DATAGRAM.findall(text)
    )


def payload_mbit(datagrams: Sequence[Datagram]) -> float:
    """The payload rate, in Mbit/s, from the first stamp to the last.

    Raises ``EmulationError`` where there are no two.
    """
    if len(datagrams) < 2:
        raise EmulationError("tcpdump saw no flood come out of the line")
    elapsed_ns = datagrams[-1].stamp_ns - datagrams[0].stamp_ns
    return sum(each.payload_bytes for each in datagrams[1:]) * 8e3 / elapsed_ns


@contextmanager
def stamped(pid: int, interface: str, count: int, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Have tcpdump write the first ``count`` UDP datagrams of an interface into ``log``, then end.

    ``pid`` is of a process in the interface's namespace.
    """
    argv = [
        *("tcpdump", "-i", interface, "-n", "-tt", "--time-stamp-precision=nano"),
        *("-s", "64", "-B", str(RING_KIB), "-c", str(count), "-Z", "root", "udp"),
    ]
    messages = log.with_suffix(".log")
    with log.open("wb") as out, messages.open("wb") as words:
        process = spawn_inside(pid, argv, out, words)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while "listening on" not in messages.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise EmulationError(f"tcpdump does not listen: {messages.read_text()[-200:]}")
            time.sleep(POLL_S)
        yield process
    except subprocess.TimeoutExpired as error:
        raise EmulationError(f"tcpdump saw fewer than {count} datagrams on the line") from error
    finally:
        process.kill()
        process.wait()
