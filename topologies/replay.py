"""Plays the traces of a network while traffic flows.

One ``tc -batch -`` in the namespace ``wires`` takes every change at its time: a process per change
would cost a guest milliseconds. Only the lines that differ from the last ones are sent, and each
change is read back, so that ``late_ms`` is when the kernel had it and not when it was asked for.
"""

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from topologies.errors import EmulationError
from topologies.namespaces import inside
from topologies.network import WIRES_NAME, EmulatedNetwork
from topologies.schedule import Change, bases, changes
from topologies.spec import Direction, direction_of

LOOK_S = 0.05
"""How often a replay that waits looks whether it is to begin (again)."""


@dataclass(frozen=True)
class Applied:
    """One direction of a link was changed: ``t_ns`` (monotonic) is when the kernel had done it,
    ``late_ms`` how long after its time that was."""

    t_ns: int
    link: str
    direction: Direction
    rate_mbit: float
    delay_ms: float
    loss_percent: float
    late_ms: float


class Replay:
    """Plays until left: ``with Replay(net, origin, tell): ...``; then all links are as before.

    ``origin`` is asked again and again for the monotonic time (ns) at which the traces are to
    begin; ``None``: not yet; another value than before: begin anew. ``tell`` hears of every
    change, in the replay's own thread. What went wrong there is raised on leaving.
    """

    def __init__(
        self,
        net: EmulatedNetwork,
        origin: Callable[[], int | None],
        tell: Callable[[Applied], None],
    ) -> None:
        self._net = net
        self._origin = origin
        self._tell = tell
        self._sent: dict[tuple[str, Direction], list[str]] = {}
        self._ended = threading.Event()
        self._error: EmulationError | None = None
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)

    def __enter__(self) -> Self:
        with inside(self._net.host_pid(WIRES_NAME)):
            self._tc = subprocess.Popen(
                # Its answers are wanted line by line, not when a buffer is full.
                ["setpriv", "--pdeathsig", "KILL", "stdbuf", "-oL", "tc", "-batch", "-"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        assert self._tc.stdin
        self._tc.stdin.close()
        self._tc.wait()
        if self._error and error is None:
            raise self._error

    def _run(self) -> None:
        try:
            begin_ns = self._await_origin(None)
            while begin_ns is not None:
                begin_ns = self._play(begin_ns)
            for change in bases(self._net.spec):
                self._apply(change, time.monotonic_ns())
        except EmulationError as error:
            self._error = error
        except OSError as error:
            self._error = EmulationError(f"replay: tc: {error.strerror}")

    def _play(self, begin_ns: int) -> int | None:
        """Play from the beginning; the next beginning, or ``None`` at the end of it all."""
        for change in changes(self._net.spec):
            due_ns = begin_ns + round(change.at_ms * 1e6)
            while (left_s := (due_ns - time.monotonic_ns()) / 1e9) > 0:
                if self._ended.wait(min(left_s, LOOK_S)):
                    return None
                if (origin_ns := self._origin()) != begin_ns:
                    return origin_ns if origin_ns is not None else self._await_origin(begin_ns)
            self._apply(change, due_ns)
        return self._await_origin(begin_ns)

    def _await_origin(self, before_ns: int | None) -> int | None:
        while not self._ended.wait(LOOK_S):
            if (origin_ns := self._origin()) not in (None, before_ns):
                return origin_ns
        return None

    def _apply(self, change: Change, due_ns: int) -> None:
        key = (change.link, change.direction)
        lines = self._net.change_lines(change.link, change.direction, change.profile)
        known = self._sent.get(key, [])
        egress = lines[0].split()[3]
        fresh = [line for line in lines if line not in known]
        self._ask([*fresh, f"class show dev {egress} classid 2:1"])
        self._sent[key] = lines
        now_ns = time.monotonic_ns()
        one_way = direction_of(change.profile, change.direction)
        self._tell(
            Applied(
                t_ns=now_ns,
                link=change.link,
                direction=change.direction,
                rate_mbit=one_way.rate_mbit,
                delay_ms=one_way.delay_ms,
                loss_percent=one_way.loss_percent,
                late_ms=(now_ns - due_ns) / 1e6,
            )
        )

    def _ask(self, lines: list[str]) -> None:
        """Have tc carry out the lines, of which the last one shows the class of the line."""
        assert self._tc.stdin and self._tc.stdout
        self._tc.stdin.write("".join(f"{line}\n" for line in lines))
        self._tc.stdin.flush()
        while not (answer := self._tc.stdout.readline()).startswith("class htb"):
            if answer.strip():
                raise EmulationError(f"replay: {'; '.join(lines[:-1])}: {answer.strip()}")
            if not answer:
                raise EmulationError(f"replay: tc ended at {'; '.join(lines[:-1])}")
