"""Threads of a stage: receive, compute and send at the same time.

Batches pass between them through short queues. When one is full its writer waits, so a slow
receiver's back-pressure reaches the source by way of TCP. ``None`` in a queue and an END frame on a
connection both say that nothing more will come; they are passed on.
"""

import queue
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stage_node.errors import StageNodeError, WireError
from stage_node.fringe.messages import (
    ArrivalsReply,
    GenerationArrivals,
    GenerationTraffic,
    TrafficReply,
)
from stage_node.fringe.source import Source
from stage_node.fringe.stage_model import StageModel
from stage_node.processes.charges import StageCharges, spend
from stage_node.records.ledger import Rows
from stage_node.wire.channel import Channel, Ring
from stage_node.wire.contract import ActivationContract
from stage_node.wire.frame import HEADER_BYTES, DType, FrameKind, Header

QUEUED_BATCHES = 2
RING_SLOTS = QUEUED_BATCHES + 2  # one more is being received, one is computed on
RESULT_BYTES_PER_IMAGE = 8
RATED_BYTES = 4096
RATED_FRAMES = 2
"""A rate is judged by the latest frames of at least three packets."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Activations (N, C, H, W) of one frame; ``release`` when they are not needed any more.

    ``t_queued_ns`` is when they were queued for sending.
    """

    sequence: int
    generation: int
    activation: Tensor
    t_queued_ns: int = 0
    release: Callable[[], None] = lambda: None


Queue = queue.Queue[Batch | None]


def admit(source: Source, outbox: Queue) -> None:
    """Let the workload's batches into the first stage."""
    while batch := source.admit():
        outbox.put(Batch(batch.sequence, batch.generation, batch.images))
    outbox.put(None)


class ActivationReceiver:
    """Takes and decodes batches from the upstream stage and counts them by generation."""

    def __init__(
        self,
        channel: Channel,
        contract: ActivationContract,
        model: StageModel,
        charges: StageCharges | None = None,
    ) -> None:
        self._channel = channel
        self._model = model
        self._contract = contract
        self._charges = charges
        self._received: dict[int, list[tuple[int, int]]] = {}  # (images, transfer_ns) of frames
        self._rates_mbit: deque[float] = deque(maxlen=RATED_FRAMES)

    def arrivals(self) -> ArrivalsReply:
        """Arrivals so far."""
        rates_mbit = list(self._rates_mbit)
        return ArrivalsReply(
            recent_rate_mbit=statistics.median(rates_mbit) if rates_mbit else None,
            generations={
                generation: _arrivals(list(frames))
                for generation, frames in dict(self._received).items()
            },
        )

    def run(self, outbox: Queue) -> None:
        """Receive until the upstream stage has no more."""
        contract = self._contract
        ring = Ring(RING_SLOTS, contract.max_payload_bytes)
        self._channel.limits = {FrameKind.ACTIVATION: contract.max_payload_bytes, FrameKind.END: 0}
        while (frame := self._channel.receive(ring)).header.kind is FrameKind.ACTIVATION:
            header = frame.header
            contract.check(header)
            coding = self._model.incoming(header.generation)
            if header.codec != coding.codec.number:
                raise WireError(
                    f"generation {header.generation} is coded as {coding.codec.name}, "
                    f"frame {header.sequence} is of codec {header.codec}"
                )
            t_begin_ns = time.monotonic_ns()
            activation = coding.decode(frame.payload, header.shape)
            if self._charges:
                rung = self._model.prepared(header.generation)[contract.cut]
                spend(t_begin_ns, self._charges.of_decoding(rung, header.shape[0]))
            frames = self._received.setdefault(header.generation, [])
            frames.append((header.shape[0], frame.transfer_ns))
            self._rate(header.payload_bytes, frame.transfer_ns)
            outbox.put(Batch(header.sequence, header.generation, activation, release=frame.release))
        outbox.put(None)

    def _rate(self, payload_bytes: int, transfer_ns: int) -> None:
        """A payload that came with its header, or in the packet behind it, gives no rate."""
        if payload_bytes < RATED_BYTES:
            self._rates_mbit.clear()
        elif transfer_ns:
            self._rates_mbit.append(payload_bytes * 8e3 / transfer_ns)


def _arrivals(frames: list[tuple[int, int]]) -> GenerationArrivals:
    return GenerationArrivals(
        frames=len(frames),
        samples=sum(images for images, _ in frames),
        transfer_ms_median=statistics.median(transfer_ns for _, transfer_ns in frames) / 1e6,
    )


def compute(
    model: StageModel,
    rows: Rows,
    inbox: Queue,
    outbox: Queue,
    charges: StageCharges | None = None,
) -> None:
    """Run the stage's part of the model on one batch after the other."""
    t_free_ns = time.monotonic_ns()
    while batch := inbox.get():
        t_begin_ns = time.monotonic_ns()
        try:
            output = model.run(batch.generation, batch.activation)
        except StageNodeError as error:
            raise type(error)(f"frame {batch.sequence}: {error}") from None
        if charges:
            spend(t_begin_ns, charges.of_forward(len(output)))
        if output.untyped_storage().data_ptr() == batch.activation.untyped_storage().data_ptr():
            output = output.clone()  # the receiver is about to get its buffer back
        batch.release()
        now = time.monotonic_ns()
        rows.append(batch.sequence, batch.generation, len(output), t_free_ns, t_begin_ns, now)
        outbox.put(Batch(batch.sequence, batch.generation, output, now))
        t_free_ns = time.monotonic_ns()
    outbox.put(None)


class ActivationSender:
    """Encodes batches, sends them over the downstream cut and counts them by generation."""

    def __init__(
        self,
        channel: Channel,
        contract: ActivationContract,
        model: StageModel,
        charges: StageCharges | None = None,
    ) -> None:
        self._channel = channel
        self._model = model
        self._cut = contract.cut
        self._charges = charges
        self._dtype = DType[contract.dtype.upper()]
        self._sent: dict[int, GenerationTraffic] = {}

    def traffic(self) -> TrafficReply:
        """Traffic so far, and the state of the path."""
        path = self._channel.path()
        return TrafficReply(
            generations=dict(self._sent),
            delivery_rate_mbit=path.delivery_rate_mbit,
            rtt_ms=path.rtt_ms,
        )

    def run(self, inbox: Queue) -> None:
        """Send until the last batch."""
        while batch := inbox.get():
            coding = self._model.outgoing(batch.generation)
            t_begin_ns = time.monotonic_ns()
            payload = coding.encode(batch.activation)
            if self._charges:
                rung = self._model.prepared(batch.generation)[self._cut]
                spend(t_begin_ns, self._charges.of_encoding(rung, len(batch.activation)))
            header = Header(
                kind=FrameKind.ACTIVATION,
                payload_bytes=len(payload),
                generation=batch.generation,
                sequence=batch.sequence,
                codec=coding.codec.number,
                dtype=self._dtype,
                shape=tuple(batch.activation.shape),
            )
            self._channel.send(header, payload, batch.t_queued_ns)
            self._count(batch.generation, header)
        self._channel.send(Header(kind=FrameKind.END, payload_bytes=0))

    def _count(self, generation: int, header: Header) -> None:
        before = self._sent.get(generation) or GenerationTraffic(frames=0, samples=0, sent_bytes=0)
        self._sent[generation] = GenerationTraffic(
            frames=before.frames + 1,
            samples=before.samples + header.shape[0],
            sent_bytes=before.sent_bytes + HEADER_BYTES + header.payload_bytes,
        )


def send_results(channel: Channel, inbox: Queue) -> None:
    """Tell the source which class the last stage predicts for each image."""
    while batch := inbox.get():
        payload = batch.activation.argmax(1).numpy().data.cast("B")
        header = Header(
            kind=FrameKind.RESULT,
            payload_bytes=len(payload),
            generation=batch.generation,
            sequence=batch.sequence,
            dtype=DType.INT64,
            shape=(len(batch.activation),),
        )
        channel.send(header, payload, batch.t_queued_ns)
    channel.send(Header(kind=FrameKind.END, payload_bytes=0))


def collect_results(channel: Channel, source: Source, batch: int) -> None:
    """Take results from the last stage and score them."""
    channel.limits = {FrameKind.RESULT: RESULT_BYTES_PER_IMAGE * batch, FrameKind.END: 0}
    while (frame := channel.receive()).header.kind is FrameKind.RESULT:
        header = frame.header
        count, rest = divmod(len(frame.payload), RESULT_BYTES_PER_IMAGE)
        if rest or not count or header.dtype is not DType.INT64 or header.shape != (count,):
            raise WireError(f"malformed result: {header}")
        predictions = torch.frombuffer(frame.payload, dtype=torch.int64)
        source.score(header.sequence, header.generation, predictions)
