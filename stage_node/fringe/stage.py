"""The process of one pipeline stage: the controller's requests, and how it ends.

The main thread answers the controller; the threads of ``serving`` do the work. The first failure
of any of them ends the process: the controller gets the reason (``Refusal``, then the end of the
connection), one line goes to the log, the ledger is saved, the exit status is that of the error.
"""

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stage_node.errors import RefusedError, StageNodeError
from stage_node.fringe.messages import (
    Ack,
    Activate,
    Arrivals,
    Configure,
    Drain,
    FrozenHashReply,
    FrozenHashRequest,
    LoadCut,
    LoadLayers,
    LoadModule,
    Prepare,
    Recent,
    Reply,
    Request,
    Results,
    Start,
    Stop,
    Traffic,
)
from stage_node.fringe.rpc import refuse, serve
from stage_node.fringe.serving import ServingStage
from stage_node.processes.configuration import ProcessConfiguration
from stage_node.records.events import EventLog
from stage_node.records.events import Message as MessageEvent
from stage_node.records.ledger import NOT_A_CUT, Ledger
from stage_node.wire.channel import Channel
from stage_node.wire.connection import accept, listen
from stage_node.wire.frame_log import FrameLog

CONTROLLER_TIMEOUT_S = 300.0


class StageConfiguration(ProcessConfiguration):
    """Configuration of a stage: where its controller connects, and where it leaves its records."""

    name: str
    control_ip: str
    control_port: int
    ledger_dir: Path
    events_path: Path


def main(configuration: StageConfiguration | Mapping[str, Any]) -> None:
    """Process entry: serve one controller until it says ``Stop``.

    Raises the ``StageNodeError`` that ended the stage, after an event of it. The ledger is saved
    however it ends, SIGTERM (exit status 143) included.
    """
    told = StageConfiguration.parse(configuration)
    torch.set_num_threads(1)
    ledger = Ledger(told.name, told.ledger_dir)
    _save_at_sigterm(ledger)
    try:
        with listen(told.control_ip, told.control_port) as listener:
            sock = accept(listener, CONTROLLER_TIMEOUT_S, "the controller")
        log = FrameLog.of(ledger, NOT_A_CUT, sock, "controller")
        Stage(told.name, Channel(sock, {}, log), ledger).run()
    except BaseException as error:
        ledger.save()
        if isinstance(error, StageNodeError):
            with EventLog(told.events_path, told.name) as events:
                events.emit(MessageEvent(text=f"stage {told.name}: {error}"))
        raise


class Stage:
    """Answers the controller of one stage (``control.Stage``)."""

    def __init__(self, name: str, control: Channel, ledger: Ledger) -> None:
        self._name = name
        self._control = control
        self._ledger = ledger
        self._serving: ServingStage | None = None
        self._failure: StageNodeError | None = None

    def run(self) -> None:
        """Serve until ``Stop``; raises what broke the stage first."""
        try:
            serve(self._control, self)
        except StageNodeError as error:
            self._fail(type(error)(f"controller: {error}"))
        if self._failure:
            refuse(self._control, str(self._failure))
            raise self._failure

    def weights_limit(self, request: Request) -> int | None:
        """Memory of the model's own layers and cuts, and no more."""
        match request:
            case LoadLayers():
                return self._stage.model.weights_bytes
            case LoadCut(cut=cut, side=side):
                return self._stage.model.cut_bytes(cut, side)
            case LoadModule():
                return self._stage.model.module_bytes(request)
            case _:
                return None

    def handle(self, request: Request, tensors: dict[str, Tensor]) -> Reply:
        """Carry out one request."""
        match request:
            case Configure():
                if self._serving:
                    raise RefusedError("already configured")
                self._serving = ServingStage(self._name, request, self._ledger, self._fail)
            case LoadLayers():
                self._stage.model.load_layers(tensors)
                return FrozenHashReply(frozen_sha256=self._stage.model.frozen_sha256())
            case LoadCut(cut=cut, side=side, layers=layers):
                self._stage.model.load_cut(cut, side, tensors, layers)
            case LoadModule():
                self._stage.model.load_module(request, tensors)
            case Prepare(generation=generation, rungs=rungs):
                self._stage.model.prepare(generation, rungs)
            case Start(split=split):
                self._stage.start(split)
            case Activate(generation=generation, split=split, frame_ms=frame_ms, go_on=go_on):
                return self._stage.activate(generation, split, frame_ms, go_on)
            case Results(generation=generation, count=count, skip=skip):
                return self._stage.source.results(generation, count, skip)
            case Recent():
                return self._stage.source.recent()
            case Traffic():
                return self._stage.traffic()
            case Arrivals():
                return self._stage.arrivals()
            case Drain():
                self._stage.source.drain()
            case FrozenHashRequest():
                return FrozenHashReply(frozen_sha256=self._stage.model.frozen_sha256())
            case Stop():
                if self._serving:
                    self._serving.stop()
                self._ledger.save()
        return Ack(t_ns=time.monotonic_ns())

    @property
    def _stage(self) -> ServingStage:
        if self._serving is None:
            raise RefusedError("not configured")
        return self._serving

    def _fail(self, error: StageNodeError) -> None:
        """Remember the first failure and wake up the main thread; called from any thread."""
        if self._failure is None:
            self._failure = error
            if self._serving:
                self._serving.fail(error)
            self._control.interrupt()


def _save_at_sigterm(ledger: Ledger) -> None:
    """Wait for SIGTERM in a thread of its own; then save the ledger and end with status 143.

    Not a handler: Python runs those in the main thread when a wait there is interrupted, and a
    signal that comes just before the wait begins, or to another thread, interrupts nothing.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # in all threads: they inherit it

    def wait() -> None:
        number = signal.sigwait({signal.SIGTERM})
        try:
            ledger.save()
        finally:
            os._exit(128 + number)

    threading.Thread(target=wait, name="sigterm", daemon=True).start()
