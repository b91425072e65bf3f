"""Changes the links of a running network in place, one direction at a time.

One ``tc -batch -`` in the namespace ``wires`` takes every change: a process per change would cost
a guest milliseconds. Only the lines that differ from the last ones are sent, and each change is
read back, so that ``late_ms`` is when the kernel had it and not when it was asked for.
"""

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from stage_node.records.vocabulary import Direction
from topologies.emulation.network import WIRES_NAME, EmulatedNetwork
from topologies.errors import EmulationError
from topologies.machine.namespaces import inside
from topologies.networks.schedule import Change
from topologies.networks.spec import direction_of


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


class Changer:
    """Applies changes until left: ``with Changer(net, tell) as changer: ...``; for any thread.

    ``tell`` receives every change, in the thread that asked for it.
    """

    def __init__(self, net: EmulatedNetwork, tell: Callable[[Applied], None]) -> None:
        self.spec = net.spec
        self._net = net
        self._tell = tell
        self._sent: dict[tuple[str, Direction], list[str]] = {}
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> Self:
        with inside(self._net.host_pid(WIRES_NAME)):
            self._tc = subprocess.Popen(
                # Its answers are wanted line by line, not when a buffer is full.
                ["setpriv", "--pdeathsig", "KILL", "stdbuf", "-oL", "tc", "-force", "-batch", "-"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._tc.stdin
        self._tc.stdin.close()
        self._tc.wait()

    def apply(self, change: Change, due_ns: int) -> None:
        """Change one direction, which was to be so from ``due_ns`` (monotonic) on.

        ``EmulationError`` in the words of ``tc`` where the kernel refuses.
        """
        lines = self._net.change_lines(change.link, change.direction, change.profile)
        egress = lines[-1].split()[3]
        with self._one_at_a_time:
            known = self._sent.get((change.link, change.direction), [])
            self._ask([*(line for line in lines if line not in known)], egress)
            self._sent[change.link, change.direction] = lines
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

    def _ask(self, lines: list[str], egress: str) -> None:
        """Have tc carry out the lines; it has when it shows the queues of that interface.

        The last of them is where frames of the other direction enter: every end of a wire has it.
        """
        assert self._tc.stdin and self._tc.stdout
        asked = [*lines, f"qdisc show dev {egress}"]
        complaints: list[str] = []
        try:
            self._tc.stdin.write("".join(f"{line}\n" for line in asked))
            self._tc.stdin.flush()
            while not (answer := self._tc.stdout.readline()).startswith("qdisc ingress"):
                if not answer:
                    raise EmulationError(f"tc ended at {'; '.join([*lines, *complaints])}")
                if answer.strip() and not answer.startswith("qdisc "):
                    complaints.append(answer.strip())
        except OSError as error:
            raise EmulationError(f"tc: {error.strerror}") from error
        if complaints:
            raise EmulationError(f"{'; '.join(lines)}: {' '.join(complaints)}")
