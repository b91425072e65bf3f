"""Packet captures on both ends of every shaped link, by tcpdump, complete or refused.

A link is shaped between its ends (see :mod:`topologies.networks.shaping`), so a capture at the
sender's end shows frames before the queue and one at the receiver's end after the line: what is
missing there was dropped, and the difference of the stamps is the one-way delay.
"""

import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from stage_node.records.captures import CaptureCounters
from stage_node.records.line.ethernet import FRAME_BYTES
from topologies.emulation.capture_counters import parse_counters
from topologies.emulation.network import EmulatedNetwork
from topologies.errors import EmulationError
from topologies.links.profiles import LinkProfile
from topologies.machine.namespaces import spawn_inside
from topologies.networks.spec import Port

SNAPSHOT_BYTES = 96  # Ethernet, IPv4 and TCP headers with every option fit
RING_FRAME_BYTES = 192  # a snapshot with its header in the kernel's ring
RING_S = 4.0  # traffic at line rate that the ring holds while tcpdump has no CPU
RING_KIB_RANGE = (1024, 32 * 1024)
START_TIMEOUT_S = 10.0
DRAIN_TIMEOUT_S = 5.0
DRAIN_POLL_S = 0.1


def ring_kib(profile: LinkProfile) -> int:
    """Size of the kernel's ring for a link: some seconds of full frames and their answers."""
    frames_per_s = (profile.down.rate_mbit + profile.up.rate_mbit) * 1e6 / 8 / FRAME_BYTES
    wanted = round(frames_per_s * 1.5 * RING_FRAME_BYTES * RING_S / 1024)
    low, high = RING_KIB_RANGE
    return min(max(wanted, low), high)


def tcpdump_argv(interface: str, buffer_kib: int) -> list[str]:
    """The command line; see tcpdump(1). Frames go to standard output.

    tcpdump would change the owner of a file that it opens itself, which the guest of an
    unprivileged user may not do.
    """
    return [
        "tcpdump",
        *("-i", interface),
        *("-s", str(SNAPSHOT_BYTES)),
        *("-B", str(buffer_kib)),
        *("-w", "-"),
        # Debian's tcpdump would become the user tcpdump.
        *("-Z", "root"),
        "-n",
        "--time-stamp-precision=nano",
    ]


class _Capture:
    """One tcpdump and its log."""

    def __init__(self, port: Port, link: str, pid: int, directory: Path, log: Path, kib: int):
        self.port, self.link, self._log = port, link, log
        with (directory / f"{port.interface}.pcap").open("wb") as frames, log.open("wb") as words:
            self.process = spawn_inside(pid, tcpdump_argv(port.interface, kib), frames, words)

    @property
    def is_listening(self) -> bool:
        if self.process.poll() is not None:
            raise EmulationError(f"tcpdump on {self.port.interface} ended: {self.messages}")
        return "listening on" in self.messages

    @property
    def messages(self) -> str:
        return self._log.read_text(errors="replace").strip()

    @property
    def counters(self) -> CaptureCounters | None:
        return parse_counters(self.port.interface, self.link, self.messages)


class Captures:
    """tcpdump on both interfaces of every shaped link: ``<directory>/<interface>.pcap``.

    ``start`` returns when all are listening; ``stop`` once every frame seen is in its file. The
    captures die with the thread that started them.
    """

    def __init__(self, net: EmulatedNetwork, directory: Path, log_dir: Path) -> None:
        self._net, self._directory, self._log_dir = net, directory, log_dir
        self._captures: list[_Capture] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def start(self) -> None:
        """Start every tcpdump and wait for it; ``EmulationError`` if one does not listen."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._log_dir.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo:
            undo.callback(self.end)
            for link, profile in self._net.spec.shaped_links:
                for port in self._net.spec.ends[link.name]:
                    self._captures.append(
                        _Capture(
                            port,
                            link.name,
                            self._net.host_pid(port.node),
                            self._directory,
                            self._log_dir / f"tcpdump-{port.interface}.log",
                            ring_kib(profile),
                        )
                    )
            deadline = time.monotonic() + START_TIMEOUT_S
            for capture in self._captures:
                while not capture.is_listening:
                    if time.monotonic() > deadline:
                        raise EmulationError(
                            f"tcpdump on {capture.port.interface} does not listen: "
                            f"{capture.messages}"
                        )
                    time.sleep(0.01)
            undo.pop_all()

    def stop(self) -> list[CaptureCounters]:
        """End the captures after the traffic has ended, and return what each counted.

        The kernel hands frames over in blocks, a late one after a second. tcpdump writes its
        counters on SIGUSR1: all are asked until all have written what they were given, at the same
        look: while one waits for its block, a connection that closes over a lossy link may well
        send another frame past one that was done.
        """
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        drained = False
        while not drained and time.monotonic() < deadline:
            for capture in self._captures:
                capture.process.send_signal(signal.SIGUSR1)
            time.sleep(DRAIN_POLL_S)
            drained = all(_is_drained(capture.counters) for capture in self._captures)
        for capture in self._captures:
            capture.process.send_signal(signal.SIGINT)
        return [self._final(capture) for capture in self._captures]

    def end(self) -> None:
        """End captures that still run; the frames that they hold are written first."""
        for capture in self._captures:
            capture.process.send_signal(signal.SIGINT)
        for capture in self._captures:
            try:
                capture.process.wait(DRAIN_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                capture.process.kill()
                capture.process.wait()

    @staticmethod
    def _final(capture: _Capture) -> CaptureCounters:
        try:
            status = capture.process.wait(DRAIN_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise EmulationError(
                f"tcpdump on {capture.port.interface} does not end: {capture.messages}"
            ) from error
        counters = capture.counters
        if status != 0 or counters is None:
            raise EmulationError(
                f"tcpdump on {capture.port.interface} ended with status {status}: "
                f"{capture.messages}"
            )
        return counters


def _is_drained(counters: CaptureCounters | None) -> bool:
    return counters is not None and counters.captured == counters.received_by_filter
