"""The part of a run that happens inside the host: network, probe, captures, processes, verdict.

``python -m testbed.emulation RUN_DIR`` is what both hosts, native and microVM, execute. It reads
the resolved experiment and leaves raw records; every figure is made from them afterwards.
"""

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import yaml
from stage_node.zygote import Zygote
from topologies.capture import Captures
from topologies.fidelity import Fidelity, judge
from topologies.probe import CpuIdleSampler, probe_network

from stage_node.events import EventLog, Message, Phase
from testbed.cli import OUR_ERRORS
from testbed.experiment import Experiment
from testbed.jobs import Job, accordion_jobs, pipeline_jobs, run_jobs
from testbed.manifest import clock_pair, describe_machine
from testbed.networks import build_network
from testbed.rundir import RunDirectory, write_json
from topologies.network import EmulatedNetwork

PRELOAD = ("controller.main", "controller.accordion.serve", "stage_node.stage", "stage_node.ue")
"""What the zygote imports once, so that no process of the run imports it again."""


class Emulation:
    """One experiment at work. Phases follow each other; everything is closed on the way out."""

    def __init__(self, run: RunDirectory, experiment: Experiment, events: EventLog) -> None:
        self._run = run
        self._experiment = experiment
        self._events = events

    def execute(self) -> None:
        """Run all phases and write the raw records."""
        clock = [clock_pair()]
        with ExitStack() as stack:
            with self._phase("preload"):
                zygote = stack.enter_context(Zygote.start(PRELOAD))
                zygote.wait_ready()
            with self._phase("network"):
                spec = build_network(self._experiment.network)
                net = stack.enter_context(EmulatedNetwork(spec, self._run.logs))
                write_json(self._run.network, net.describe())
            with self._phase("probe"):
                probes = probe_network(net)
            counters_before = net.qdisc_counters()
            captures = stack.enter_context(Captures(net, self._run.captures, self._run.logs))
            with CpuIdleSampler() as idle:
                for name, jobs in self._work(net):
                    with self._phase(name):
                        run_jobs(zygote, net, jobs, self._run.logs)
            with self._phase("captures"):
                captured = captures.stop()
            fidelity = judge(
                probes=probes,
                captures=captured,
                qdisc=net.qdisc_counters() - counters_before,
                cpu_idle=idle.shares,
            )
            with self._phase("teardown"):
                stack.close()
        clock.append(clock_pair())
        self._record(fidelity, captured)
        self._run.update_manifest(machine=describe_machine(), clock=clock)

    def _work(self, net: EmulatedNetwork) -> Iterator[tuple[str, list[Job]]]:
        if self._experiment.pipeline is not None:
            yield "pipeline", pipeline_jobs(self._experiment.pipeline, net, self._run)
        if self._experiment.accordion is not None:
            yield "accordion", accordion_jobs(self._experiment.accordion, net, self._run)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self._events.emit(Phase, phase=name, state="begin")
        try:
            yield
        finally:
            self._events.emit(Phase, phase=name, state="end")

    def _record(self, fidelity: Fidelity, captured: object) -> None:
        write_json(self._run.fidelity, fidelity.model_dump(mode="json"))
        write_json(self._run.capture_counters, captured)
        self._events.emit(Message, text=f"fidelity: {fidelity.verdict}")


def main(directory: str) -> int:
    """Run the experiment in ``directory``; an error is left there as ``failure.json``."""
    run = RunDirectory(Path(directory))
    signal.signal(signal.SIGTERM, _end)
    try:
        experiment = Experiment.model_validate(yaml.safe_load(run.experiment.read_text()))
        with EventLog(run.events, "runner") as events:
            Emulation(run, experiment, events).execute()
    except OUR_ERRORS as error:
        return _fail(run, error, error.exit_status)
    except Exception as error:
        traceback.print_exc()
        return _fail(run, error, 1)
    return 0


def _fail(run: RunDirectory, error: Exception, status: int) -> int:
    message = str(error) or type(error).__name__
    write_json(run.failure, {"type": type(error).__name__, "message": message, "status": status})
    return status


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
