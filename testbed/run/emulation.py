"""The part of a run that happens inside the host: network, probe, captures, processes, verdict.

``python -m testbed.run.emulation``, in a run directory, is what both hosts, native and microVM,
execute. It reads the plan and leaves raw records; every figure is made from them afterwards.
"""

import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Self

from stage_node.processes.zygote import Zygote
from stage_node.records.captures import CapturesRecord
from stage_node.records.events import (
    ControlBegins,
    DownloadEnded,
    Event,
    EventFollower,
    EventLog,
    LinkChanged,
    Measurement,
    Phase,
    read_events,
)
from stage_node.records.machine import FailureRecord, MachineRecord
from stage_node.records.run_directory import RunDirectory
from stage_node.records.vocabulary import ClockKind
from testbed.errors import OUR_ERRORS
from testbed.planning.plan import PlannedPhase, RunPlan
from testbed.run.jobs import JobPlace, run_phase
from testbed.run.link_requests import LinkRequests
from testbed.run.manifest import clock_pair, describe_machine
from topologies.emulation.capture import Captures
from topologies.emulation.changer import Applied, Changer
from topologies.emulation.network import EmulatedNetwork
from topologies.emulation.qdiscs import since
from topologies.emulation.replay import Replay
from topologies.fidelity.probe import probe_network
from topologies.fidelity.verdict import Probe, judge
from topologies.machine.cpu import CpuSampler, IdleSample, Window, idle_during
from topologies.machine.cpu_share import CpuShares
from topologies.machine.pauses import Paused, PauseSampler, paused_during
from topologies.networks.schedule import varies

BEAT_NS = 100_000_000
"""On the virtual clock a phase begins at a multiple of this: how long imports and the phases before
took does not move its stamps."""


class Emulation:
    """One plan at work. Phases follow each other; everything is closed on the way out."""

    def __init__(self, run: RunDirectory, plan: RunPlan, events: EventLog) -> None:
        self._run = run
        self._plan = plan
        self._events = events
        self._late_ms: list[float] = []

    def execute(self) -> None:
        """Run all phases and write the raw records."""
        machine, begin = describe_machine(), clock_pair()
        MachineRecord(machine=machine, clock=(begin,)).write(self._run.machine)
        with ExitStack() as stack:
            shares = stack.enter_context(CpuShares(self._plan.network.cpu_share))
            zygote = stack.enter_context(Zygote.start(self._plan.modules))
            with self._phase("network"):
                net = stack.enter_context(EmulatedNetwork(self._plan.network, self._run.logs))
                net.describe().write(self._run.network)
            with self._phase("preload"):
                zygote.wait_ready()
            with self._phase("probe"):
                probe = probe_network(net, self._plan.clock)
            self._work(JobPlace(zygote, net, shares), probe)
            with self._phase("teardown"):
                stack.close()
        MachineRecord(machine=machine, clock=(begin, clock_pair())).write(self._run.machine)

    def _work(self, place: JobPlace, probe: Probe) -> None:
        net = place.net
        net.wait_idle()  # the probe's last frames are not the run's
        before = net.qdisc_counters()
        with (
            Disturbances(self._plan.clock) as machine,
            Captures(net, self._run.captures, self._run.logs) as captures,
        ):
            with Changer(net, self._tell) as changer, self._taking_requests(changer):
                for phase in self._plan.phases:
                    with self._phase(phase.name), self._replaying(changer, phase):
                        run_phase(place, phase, self._run)
            with self._phase("captures"):
                net.wait_idle()  # the last frames of closing connections are still the run's
                counters = captures.stop()
            idle, paused = machine.during(network_bound(read_events(self._run.events)))
        fidelity = judge(
            probe,
            captures=counters,
            qdiscs=since(before, net.qdisc_counters()),
            idle=idle,
            paused=paused,
            late_ms=self._late_ms,
            clock=self._plan.clock,
        )
        fidelity.record().write(self._run.fidelity)
        CapturesRecord(captures=tuple(counters)).write(self._run.capture_counters)

    def _taking_requests(self, changer: Changer) -> AbstractContextManager[object]:
        if not self._plan.links_can_be_changed:
            return nullcontext()
        return LinkRequests(self._run, changer, self._events)

    @contextmanager
    def _replaying(self, changer: Changer, phase: PlannedPhase) -> Iterator[None]:
        """The links' traces are played, from the phase's beginning or as its controller asks."""
        if not varies(self._plan.network):
            yield
            return
        origin = ControlOrigin(self._run.events) if phase.controlled else PhaseOrigin()
        with Replay(changer, origin):
            yield

    def _tell(self, applied: Applied) -> None:
        self._late_ms.append(applied.late_ms)
        self._events.emit(
            LinkChanged(
                t_ns=applied.t_ns,
                link=applied.link,
                direction=applied.direction,
                rate_mbit=applied.rate_mbit,
                delay_ms=applied.delay_ms,
                loss_percent=applied.loss_percent,
                late_ms=applied.late_ms,
            )
        )

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        if self._plan.clock == "virtual":
            wait_for_beat()
        self._events.emit(Phase(phase=name, state="begin"))
        yield
        self._events.emit(Phase(phase=name, state="end"))


def wait_for_beat() -> None:
    """Sleep until the next multiple of ``BEAT_NS``."""
    time.sleep(-time.monotonic_ns() % BEAT_NS / 1e9)


class Disturbances:
    """Disturbances of the network's pace: ``with Disturbances(clock) as it: ...``.

    Looks for idle CPU and pauses on the real clock; on the virtual one there is nothing to see.
    """

    def __init__(self, clock: ClockKind) -> None:
        self._samplers = None if clock == "virtual" else (PauseSampler(), CpuSampler())
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for sampler in self._samplers or ():
            self._stack.enter_context(sampler)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def during(self, windows: Sequence[Window]) -> tuple[list[IdleSample], Paused | None]:
        """Idle CPU and pauses of the windows (monotonic ns); empty if none was sampled."""
        if self._samplers is None:
            return [], None
        machine, cpu = self._samplers
        pauses = machine.pauses()
        paused = None if pauses is None else paused_during(windows, pauses)
        return idle_during(windows, cpu.readings()), paused


class PhaseOrigin:
    """Traces begin now, and once."""

    def __init__(self) -> None:
        self._begin_ns = time.monotonic_ns()

    def __call__(self) -> int:
        """When they begin."""
        return self._begin_ns


class ControlOrigin:
    """Traces begin whenever the controller announces that it serves under another mode."""

    def __init__(self, events: Path) -> None:
        self._news = EventFollower(events)
        self._begin_ns: int | None = None

    def __call__(self) -> int | None:
        """When they begin, as far as is known."""
        for event in self._news.fresh():
            if isinstance(event, ControlBegins):
                self._begin_ns = event.begin_ns
        return self._begin_ns


def network_bound(events: Iterable[Event]) -> list[tuple[int, int]]:
    """The windows in which the network is to set the pace: measurements, control, downloads."""
    return [
        (event.begin_ns, event.t_ns if isinstance(event, DownloadEnded) else event.end_ns)
        for event in events
        if isinstance(event, Measurement | ControlBegins | DownloadEnded)
    ]


def main() -> int:
    """Run the experiment in this directory; an error is left there as ``failure.json``."""
    run = RunDirectory(Path.cwd())
    signal.signal(signal.SIGTERM, _end)
    try:
        plan = RunPlan.model_validate_json(run.plan.read_text())
        with EventLog(run.events, "runner") as events:
            Emulation(run, plan, events).execute()
    except OUR_ERRORS as error:
        return _fail(run, error, error.exit_status)
    except Exception as error:
        traceback.print_exc()
        return _fail(run, error, 1)
    return 0


def _fail(run: RunDirectory, error: Exception, status: int) -> int:
    message = str(error) or type(error).__name__
    FailureRecord(type=type(error).__name__, message=message, status=status).write(run.failure)
    return status


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
