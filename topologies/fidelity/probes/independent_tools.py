"""iperf3 and ping as processes inside an emulated network, and what their answers say.

They share no code with the testbed's own probe, so that one can be held against the other. See
iperf3(1) and ping(8). What counts is the receiver's account: iperf3's server writes it itself, and
nothing of it has to cross the link.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topologies.errors import EmulationError
from topologies.fidelity.probes.link_ends import Vantage
from topologies.machine.namespaces import run_inside, spawn_inside

TOOLS = ("iperf3", "ping")
PORT = 5201  # iperf3's own
LISTENING = f":{PORT:04X} 00000000:0000 0A"  # a line of /proc/net/tcp, see proc(5)
START_TIMEOUT_S = 10.0
END_TIMEOUT_S = 10.0
LEAST_INTERVAL_S = 0.5
ROUNDING_S = 0.01
_RTT = re.compile(r"time[=<]([0-9.]+) ms")
_SHORTEST = re.compile(r"^rtt min/avg/max/mdev = ([0-9.]+)/", re.MULTILINE)
_COUNTS = re.compile(r"^(\d+) packets transmitted, (\d+) received", re.MULTILINE)


@dataclass(frozen=True)
class Pings:
    """Answer of ping: the shortest round trip to a microsecond, each to three digits."""

    sent: int
    received: int
    shortest_ms: float | None
    rtts_ms: tuple[float, ...]


@dataclass(frozen=True)
class Iperf3Flow:
    """Answer of iperf3's receiver for the measured part: payload rate, datagrams if it was UDP."""

    mbit: float
    datagrams: int = 0
    lost: int = 0


def parse_pings(text: str) -> Pings:
    """The output of iputils' ping; ``EmulationError`` if it is something else."""
    counts, shortest = _COUNTS.search(text), _SHORTEST.search(text)
    if counts is None:
        raise EmulationError(f"ping: cannot read its answer: {text.strip()[-200:]!r}")
    return Pings(
        sent=int(counts[1]),
        received=int(counts[2]),
        shortest_ms=float(shortest[1]) if shortest else None,
        rtts_ms=tuple(float(each) for each in _RTT.findall(text)),
    )


def parse_flow(text: str) -> Iperf3Flow:
    """The JSON of an iperf3 server after its test: whole intervals that are not omitted.

    Where the omission ends together with an interval, iperf3 says of the next that it has lasted
    twice as long as its bytes took; its begin and end give it away.
    """
    try:
        answer: dict[str, Any] = json.loads(text)
        if "error" in answer:
            raise EmulationError(f"iperf3: {answer['error']}")
        sums = [interval["sum"] for interval in answer["intervals"]]
        counted = [each for each in sums if not each["omitted"] and _is_whole(each)]
        seconds = sum(each["seconds"] for each in counted)
        total = answer["end"].get("sum", {})  # of datagrams alone
        return Iperf3Flow(
            mbit=sum(each["bytes"] for each in counted) * 8e-6 / seconds if seconds else 0.0,
            datagrams=total.get("packets", 0),
            lost=total.get("lost_packets", 0),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise EmulationError(f"iperf3: cannot read its answer: {text.strip()[-200:]!r}") from error


def _is_whole(interval: dict[str, Any]) -> bool:
    seconds: float = interval["seconds"]
    length_s: float = interval["end"] - interval["start"]
    return seconds >= LEAST_INTERVAL_S and abs(length_s - seconds) < ROUNDING_S


def ping(sender: Vantage, receiver: Vantage, count: int, interval_s: float, wait_s: float) -> Pings:
    """Echoes of the default size (56 bytes), ``interval_s`` apart; those that are not back
    ``wait_s`` after the last have been lost."""
    answer = run_inside(
        sender.pid,
        # Without any answer ping's own status is 1, which is no failure of ping.
        *("sh", "-c", '"$@" || [ $? -eq 1 ]', "sh"),
        *("ping", "-n", "-c", str(count), "-i", f"{interval_s:.3f}", "-W", f"{wait_s:.1f}"),
        receiver.ip,
    )
    return parse_pings(answer)


def iperf3(
    sender: Vantage, receiver: Vantage, arguments: tuple[str, ...], limit_s: float, log: Path
) -> Iperf3Flow:
    """One test from ``sender`` to ``receiver``; the receiver's JSON stays in ``log``.

    Raises ``EmulationError`` if it fails or takes longer than ``limit_s``.
    """
    client = ("timeout", f"{limit_s:.0f}", "iperf3", "-4", "-c", receiver.ip, *arguments)
    with _server(receiver, log) as server:
        run_inside(sender.pid, *client)
        with suppress(subprocess.TimeoutExpired):  # then its account is not whole
            server.wait(END_TIMEOUT_S)
    return parse_flow(log.read_text())


@contextmanager
def _server(vantage: Vantage, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server for one test, listening; it writes its account into ``log`` and ends."""
    with log.open("wb") as out:
        process = spawn_inside(vantage.pid, ["iperf3", "-4", "-s", "-1", "-J"], out, out)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while LISTENING not in Path(f"/proc/{process.pid}/net/tcp").read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise EmulationError(
                    f"iperf3: its server does not listen: {log.read_text()[-200:]}"
                )
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()
