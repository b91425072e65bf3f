"""A configured stage: its place in the pipeline, its connections, and the threads that serve.

Every connection belongs to one thread: ``upstream`` receives activations, ``compute`` runs the
model, ``downstream`` sends what comes out. At stage 0 ``source`` takes the place of ``upstream``,
and ``results`` takes the predictions that the last stage sends instead of activations.
"""

import queue
import socket
import threading
import time
import traceback
from collections.abc import Callable

from stage_node.data import SplitName, load_dataset
from stage_node.errors import PeerLostError, RefusedError, StageNodeError, WireError
from stage_node.fringe import workers
from stage_node.fringe.messages import Activated, ArrivalsReply, Configure, TrafficReply
from stage_node.fringe.source import Source
from stage_node.fringe.stage_model import StageModel
from stage_node.processes.charges import sleep_exactly
from stage_node.records.ledger import NOT_A_CUT, Ledger
from stage_node.wire.channel import Channel
from stage_node.wire.connection import accept, connect, greet, listen
from stage_node.wire.contract import HELLO_LIMITS, ActivationContract, Hello
from stage_node.wire.frame_log import FrameLog

CONNECT_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 4.0


class ServingStage:
    """Listens from the moment it is made, so that its peers' ``start`` finds it.

    ``on_failure`` is called, from the thread concerned, with what broke the stage.
    """

    def __init__(
        self,
        name: str,
        configuration: Configure,
        ledger: Ledger,
        on_failure: Callable[[StageNodeError], None],
    ) -> None:
        if configuration.charges:
            sleep_exactly()
        self.model = StageModel(configuration)
        self._name = name
        self._configuration = configuration
        self._ledger = ledger
        self._on_failure = on_failure
        self._inbox: workers.Queue = queue.Queue(workers.QUEUED_BATCHES)
        self._outbox: workers.Queue = queue.Queue(workers.QUEUED_BATCHES)
        self._sender: workers.ActivationSender | None = None
        self._receiver: workers.ActivationReceiver | None = None
        self._source: Source | None = None
        self._threads: dict[str, threading.Thread] = {}
        self._connected = threading.Event()  # with the sender to this stage
        if configuration.stage == 0:
            self._make_source()
        else:
            listener = listen(configuration.listen_ip or "", configuration.data_port)
            self._run("upstream", lambda: self._receive(listener))

    @property
    def source(self) -> Source:
        """The workload; ``RefusedError`` anywhere but at stage 0."""
        if self._source is None:
            raise RefusedError("only stage 0 has the source")
        return self._source

    def start(self, split: SplitName) -> None:
        """Connect downstream, compute and send; at stage 0, also let the frames flow."""
        if not self.model.loaded:
            raise RefusedError("no layers were loaded")
        if self._started:
            raise RefusedError("already started")
        try:
            send = self._connect_downstream()
        except (WireError, PeerLostError) as error:
            self._on_failure(error)
            raise
        self._run("compute", self._compute)
        self._run("downstream", lambda: send(self._outbox))
        if self._source:
            if not self._connected.wait(CONNECT_TIMEOUT_S):
                raise PeerLostError("the last stage did not connect")
            self._source.activate(0, split)
            self._run("source", lambda: workers.admit(self.source, self._inbox))

    def activate(
        self, generation: int, split: SplitName, frame_ms: float, go_on: bool
    ) -> Activated:
        """Let the source stamp its frames with a prepared generation from now on."""
        if not self._started:
            raise RefusedError("not started")
        self.model.prepared(generation)
        return self.source.activate(generation, split, frame_ms, go_on)

    def traffic(self) -> TrafficReply:
        """Traffic over the downstream cut; ``RefusedError`` if there is none."""
        if self._sender is None:
            raise RefusedError("no connection to a downstream stage")
        return self._sender.traffic()

    def arrivals(self) -> ArrivalsReply:
        """Arrivals over the upstream cut; ``RefusedError`` if there is none."""
        if self._receiver is None:
            raise RefusedError("no connection to an upstream stage")
        return self._receiver.arrivals()

    def stop(self) -> None:
        """Let everything admitted pass, then end; ``PeerLostError`` when that takes too long."""
        if self._source:
            self._source.stop()
        if not (self._started and self._connected.is_set()):
            return
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for thread in self._threads.values():
            thread.join(max(deadline - time.monotonic(), 0))
            if thread.is_alive():
                raise PeerLostError(f"{thread.name} has not ended; stages stop in order, 0 first")

    def fail(self, error: StageNodeError) -> None:
        """Wake up every thread that waits for results that will not come."""
        if self._source:
            self._source.fail(error)

    @property
    def _started(self) -> bool:
        return "compute" in self._threads

    def _make_source(self) -> None:
        configuration = self._configuration
        if configuration.dataset is None:
            raise RefusedError("stage 0 needs a data set")
        dataset = load_dataset(configuration.dataset)
        if configuration.validation_images is not None:
            dataset = dataset.limited(configuration.validation_images)
        rows = self._ledger.results
        self._source = Source(dataset, configuration.window, configuration.batch, rows)
        listener = listen(configuration.results_ip, configuration.results_port)
        self._run("results", lambda: self._collect(listener))

    def _receive(self, listener: socket.socket) -> None:
        stage, contract = self._configuration.stage, self._configuration.upstream
        if contract is None:
            raise RefusedError(f"stage {stage} needs the contract of its upstream cut")
        channel = self._greet(_accept_one(listener), stage - 1, stage, contract)
        self._connected.set()
        self._receiver = workers.ActivationReceiver(
            channel, contract, self.model, self._configuration.charges
        )
        self._receiver.run(self._inbox)
        channel.close()

    def _collect(self, listener: socket.socket) -> None:
        channel = self._greet(_accept_one(listener), self._configuration.stages - 1, 0, None)
        self._connected.set()
        workers.collect_results(channel, self.source, self._configuration.batch)
        channel.close()

    def _compute(self) -> None:
        workers.compute(
            self.model,
            self._ledger.compute,
            self._inbox,
            self._outbox,
            self._configuration.charges,
        )

    def _connect_downstream(self) -> Callable[[workers.Queue], None]:
        """The job of the thread ``downstream``."""
        own, stage = self._configuration, self._configuration.stage
        if stage == own.stages - 1:
            sock = connect(own.results_ip, own.results_port, CONNECT_TIMEOUT_S)
            results = self._greet(sock, stage, 0, None)
            return lambda outbox: workers.send_results(results, outbox)
        if own.downstream is None or own.next_ip is None or own.next_port is None:
            raise RefusedError(f"stage {stage} needs a downstream contract and address")
        sock = connect(own.next_ip, own.next_port, CONNECT_TIMEOUT_S)
        channel = self._greet(sock, stage, stage + 1, own.downstream)
        self._sender = workers.ActivationSender(channel, own.downstream, self.model, own.charges)
        return self._sender.run

    def _greet(
        self, sock: socket.socket, sender: int, receiver: int, contract: ActivationContract | None
    ) -> Channel:
        log = FrameLog.of(self._ledger, contract.cut if contract else NOT_A_CUT, sock)
        channel = Channel(sock, HELLO_LIMITS, log)
        hello = Hello(
            purpose="activations" if contract else "results",
            name=self._name,
            model_hash=self._configuration.model_hash,
            sender_stage=sender,
            receiver_stage=receiver,
            contract=contract,
        )
        greet(channel, hello)
        return channel

    def _run(self, job: str, work: Callable[[], None]) -> None:
        """Do a job in a thread of its own; what it raises breaks the stage."""

        def guarded() -> None:
            try:
                work()
            except StageNodeError as error:
                self._on_failure(type(error)(f"{job}: {error}"))
            except Exception as error:
                traceback.print_exc()
                self._on_failure(StageNodeError(f"{job}: {error!r}"))

        self._threads[job] = threading.Thread(target=guarded, name=job, daemon=True)
        self._threads[job].start()


def _accept_one(listener: socket.socket) -> socket.socket:
    with listener:
        return accept(listener, None, "the peer")
