"""The control conversation: a controller asks, a stage answers, over TCP on its own network."""

import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self, TypeVar

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from stage_node.data import SplitName
from stage_node.errors import PeerLostError, RefusedError, StageNodeError, WireError
from stage_node.fringe.messages import (
    Ack,
    Activate,
    Activated,
    Arrivals,
    ArrivalsReply,
    Configure,
    Drain,
    FrozenHashReply,
    FrozenHashRequest,
    LoadCut,
    LoadLayers,
    LoadModule,
    Prepare,
    Recent,
    RecentReply,
    Refusal,
    Reply,
    Request,
    Results,
    ResultsReply,
    RpcMessage,
    Side,
    Start,
    Stop,
    Traffic,
    TrafficReply,
    parse_reply,
    parse_request,
)
from stage_node.wire.channel import Channel
from stage_node.wire.connection import connect
from stage_node.wire.frame import FrameKind, Header
from stage_node.wire.rung import Rung

MESSAGE_LIMITS = {FrameKind.CONTROL: 1 << 20}
CONNECT_TIMEOUT_S = 60.0
REPLY_TIMEOUT_S = 60.0

R = TypeVar("R", bound=RpcMessage)


def _send(channel: Channel, message: RpcMessage) -> None:
    payload = message.to_payload()
    channel.send(Header(kind=FrameKind.CONTROL, payload_bytes=len(payload)), payload)


class ControlClient:
    """The controller's end: one method per request, each blocks until the stage has answered.

    Every method raises ``RefusedError`` with the stage's reason when it refuses, and
    ``PeerLostError`` when the stage is gone or silent.
    """

    def __init__(self, name: str, ip: str, port: int, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Connect to stage ``name``, which may still be starting: try until ``timeout_s``."""
        self.name = name
        self._channel = Channel(connect(ip, port, timeout_s), MESSAGE_LIMITS)

    def configure(self, configuration: Configure) -> None:
        """Tell the stage where it stands in the pipeline."""
        self.request(configuration, Ack)

    def load_layers(self, tensors: Mapping[str, Tensor]) -> str:
        """Send the weights of the stage's layers; returns the SHA-256 of its frozen tensors."""
        return self.request(LoadLayers(), FrozenHashReply, tensors).frozen_sha256

    def load_cut(
        self, cut: int, side: Side, tensors: Mapping[str, Tensor], layers: tuple[str, ...] = ()
    ) -> None:
        """Send a cut to the stage on one side of it, whose fringe layers there are ``layers``."""
        self.request(LoadCut(cut=cut, side=side, layers=layers), Ack, tensors)

    def load_module(self, request: LoadModule, tensors: Mapping[str, Tensor]) -> None:
        """Send one half of a distilled module to the stage on its side of the cut."""
        self.request(request, Ack, tensors)

    def prepare(self, generation: int, rungs: tuple[Rung, ...]) -> None:
        """First phase of a switch: make the stage ready for a generation."""
        self.request(Prepare(generation=generation, rungs=rungs), Ack)

    def start(self, split: SplitName = "validation") -> None:
        """Connect the stage downstream; at stage 0, also let the frames flow."""
        self.request(Start(split=split), Ack)

    def activate(
        self, generation: int, split: SplitName, frame_ms: float = 0.0, go_on: bool = False
    ) -> Activated:
        """Second phase of a switch (stage 0): admit frames under this generation from now on."""
        request = Activate(generation=generation, split=split, frame_ms=frame_ms, go_on=go_on)
        return self.request(request, Activated)

    def results(
        self, generation: int, count: int, skip: int = 0, timeout_s: float = 600.0
    ) -> ResultsReply:
        """Wait for results of ``count`` images under the active generation (stage 0)."""
        request = Results(generation=generation, count=count, skip=skip)
        return self.request(request, ResultsReply, timeout_s=timeout_s)

    def recent(self) -> RecentReply:
        """The results since the last time, and what is still waited for (stage 0)."""
        return self.request(Recent(), RecentReply)

    def traffic(self) -> TrafficReply:
        """Ask for the traffic over the downstream cut so far, by generation."""
        return self.request(Traffic(), TrafficReply)

    def arrivals(self) -> ArrivalsReply:
        """Ask for the arrivals over the upstream cut so far, by generation."""
        return self.request(Arrivals(), ArrivalsReply)

    def drain(self) -> None:
        """Stop admitting frames and wait until none is in flight (stage 0)."""
        self.request(Drain(), Ack)

    def frozen_hash(self) -> str:
        """SHA-256 of the stage's frozen tensors as they are now."""
        return self.request(FrozenHashRequest(), FrozenHashReply).frozen_sha256

    def stop(self) -> None:
        """Let the stage write its ledger and end."""
        self.request(Stop(), Ack)

    def request(
        self,
        request: RpcMessage,
        reply_type: type[R],
        tensors: Mapping[str, Tensor] | None = None,
        timeout_s: float = REPLY_TIMEOUT_S,
    ) -> R:
        """Send any request, with tensors where it takes some, and wait for its reply."""
        try:
            _send(self._channel, request)
            if tensors is not None:
                weights = safetensors.torch.save(
                    {name: tensor.contiguous() for name, tensor in tensors.items()}
                )
                self._channel.send(
                    Header(kind=FrameKind.WEIGHTS, payload_bytes=len(weights)), weights
                )
            self._channel.set_receive_timeout(timeout_s)
            reply = parse_reply(self._channel.receive().payload)
        except PeerLostError as error:
            raise PeerLostError(f"stage {self.name}: {request.name}: {error}") from None
        if isinstance(reply, Refusal):
            raise RefusedError(f"stage {self.name}: {reply.reason}")
        if not isinstance(reply, reply_type):
            raise WireError(f"stage {self.name} answered {request.name} with {reply!r}")
        return reply

    def close(self) -> None:
        """End the conversation. A stage that was not stopped ends with an error."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class StageClient(Protocol):
    """The answerer of the controller's requests."""

    def weights_limit(self, request: Request) -> int | None:
        """Bytes that the WEIGHTS frame after this request may have; ``None``: none follows."""

    def handle(self, request: Request, tensors: dict[str, Tensor]) -> Reply:
        """Carry out one request."""


def serve(channel: Channel, stage: StageClient) -> None:
    """Answer a controller's requests until ``Stop``.

    What the stage raises as a ``StageNodeError`` is answered by ``Refusal`` and the conversation
    continues. It ends with a breach of the wire format (``WireError``), with weights that the stage
    has no use for, and with the controller's going away (``PeerLostError``).
    """
    while True:
        channel.limits = MESSAGE_LIMITS
        request = parse_request(channel.receive().payload)
        tensors = _receive_weights(channel, stage.weights_limit(request))
        try:
            reply = stage.handle(request, tensors)
        except StageNodeError as error:
            reply = Refusal(reason=str(error))
        _send(channel, reply)
        if isinstance(request, Stop) and not isinstance(reply, Refusal):
            return


def refuse(channel: Channel, reason: str) -> None:
    """Tell a controller, who may be gone, why this stage is about to end."""
    with contextlib.suppress(PeerLostError):
        _send(channel, Refusal(reason=reason))


def _receive_weights(channel: Channel, limit: int | None) -> dict[str, Tensor]:
    if limit is None:
        return {}
    channel.limits = {FrameKind.WEIGHTS: limit}
    try:
        return safetensors.torch.load(bytes(channel.receive().payload))
    except SafetensorError as error:
        raise WireError(f"WEIGHTS frame is not safetensors: {error}") from None
