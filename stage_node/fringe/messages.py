"""Requests of the controller to a stage, and the stage's replies.

Each request travels as one CONTROL frame (JSON) over TCP, some followed by one WEIGHTS frame
(safetensors), and is answered by exactly one reply. Any request may be answered by ``Refusal``.

The order of a run::

    Configure, LoadLayers          every stage
    LoadCut, LoadModule            both stages of each cut: sender "encoder", receiver "decoder"
    Start                          the last stage first, stage 0 last: frames flow from then on
    Prepare ... Activate           every stage, then stage 0: the two phases of a switch
    Results, Traffic, Arrivals,    whenever wanted
    FrozenHash
    Drain                          stage 0
    Stop                           stage 0 first, the last stage last
"""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from stage_node.data import SplitName
from stage_node.errors import WireError
from stage_node.fringe.bottleneck import BottleneckSpec
from stage_node.models import ModelSpec
from stage_node.processes.charges import StageCharges
from stage_node.wire.contract import ActivationContract
from stage_node.wire.rung import Rung

Side = Literal["encoder", "decoder"]


class RpcMessage(BaseModel):
    """A request or a reply; its ``type`` says which."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def name(self) -> str:
        """Kind of this message."""
        return str(type(self).model_fields["type"].default)

    def to_payload(self) -> bytes:
        """JSON, UTF-8."""
        return self.model_dump_json().encode()


class Configure(RpcMessage):
    """Configure this stage's place in the pipeline; answered by ``Ack``.

    The stage binds ``listen_ip:data_port`` (every stage but the first) at once, and stage 0 also
    ``results_ip:results_port`` on the management network, so that ``Start`` finds its peers
    listening. ``upstream`` and ``downstream`` are the contracts of the cuts on either side,
    ``None`` at the ends of the chain. ``model_hash`` names the checkpoint: stages of different
    checkpoints refuse each other. ``fringe`` names the layers that ``FrozenHashRequest`` leaves
    out.
    ``window`` frames of up to ``batch`` images are in flight at most. ``dataset`` is the workload
    (stage 0; other stages ignore it), with its first ``validation_images`` (``None``: all).
    ``charges`` is what its work takes on the device it stands for (``None``: not charged).
    """

    type: Literal["configure"] = "configure"
    stage: int = Field(ge=0)
    stages: int = Field(ge=1)
    model: ModelSpec
    model_hash: str
    layers: tuple[str, ...]
    fringe: tuple[str, ...] = ()
    upstream: ActivationContract | None
    downstream: ActivationContract | None
    listen_ip: str | None
    data_port: int
    next_ip: str | None
    next_port: int | None
    results_ip: str
    results_port: int
    window: int = Field(ge=1)
    batch: int = Field(ge=1)
    dataset: str | None = None
    validation_images: int | None = None
    charges: StageCharges | None = None


class LoadLayers(RpcMessage):
    """Weights of this stage's layers (``layers.<layer>.<parameter>``) in the WEIGHTS frame that
    follows; answered by ``FrozenHashReply``."""

    type: Literal["load_layers"] = "load_layers"


class LoadCut(RpcMessage):
    """The importance-ordered basis of a cut, its calibrated ranges and the order of its channels,
    in the WEIGHTS frame that follows: the tensors of ``cut.Cut``. ``layers`` are the fringe layers
    on this side of the cut, which rungs may prune; others are refused. Answered by ``Ack``.
    Generations prepared before keep the cut they were prepared with."""

    type: Literal["load_cut"] = "load_cut"
    cut: int
    side: Side
    layers: tuple[str, ...] = ()


class LoadModule(RpcMessage):
    """One half of a distilled module, in the WEIGHTS frame that follows: the bottleneck's half
    (``encoder.*`` or ``decoder.*``; none without a ``bottleneck``) and tuned copies of the fringe
    ``layers`` on this side (``layers.<layer>.<parameter>``). Rungs refer to it by ``name``. The
    model's own layers stay as they are: the copies serve under generations of this module only,
    and layers that are not fringe layers are refused. Answered by ``Ack``."""

    type: Literal["load_module"] = "load_module"
    cut: int
    side: Side
    module: str = Field(min_length=1, max_length=120)
    bottleneck: BottleneckSpec | None
    layers: tuple[str, ...] = ()


class Prepare(RpcMessage):
    """Make ready to serve a generation: ``rungs`` has one entry per cut of the pipeline. Answered
    by ``Ack``. Generation 0 is uncompressed everywhere and always prepared; a generation never
    changes its meaning."""

    type: Literal["prepare"] = "prepare"
    generation: int = Field(ge=0)
    rungs: tuple[Rung, ...]


class Start(RpcMessage):
    """Connect downstream. Answered by ``Ack`` when both HELLOs agree; at stage 0 this also means
    that the whole pipeline is connected, and the source admits frames of generation 0 without end,
    cycling over ``split``."""

    type: Literal["start"] = "start"
    split: SplitName = "validation"


class Activate(RpcMessage):
    """Stage 0: every frame admitted from now on carries ``generation``. The source starts again at
    image 0 of ``split``, or continues with the next one (``go_on``), and admits a frame every
    ``frame_ms`` as long as the window has room (0: as fast as that has). Answered by
    ``Activated``. Resumes a drained pipeline."""

    type: Literal["activate"] = "activate"
    generation: int = Field(ge=0)
    split: SplitName
    frame_ms: float = Field(default=0, ge=0)
    go_on: bool = False


class Results(RpcMessage):
    """Stage 0: wait until ``count`` images have results under the active generation, not counting
    the first ``skip`` frames since ``Activate``; answered by ``ResultsReply``.

    Frames never straddle the end of a split, so with ``count`` = the split's size every image of
    it counts exactly once, whatever ``skip`` is. Refused when ``generation`` is not active.
    """

    type: Literal["results"] = "results"
    generation: int = Field(ge=0)
    count: int = Field(ge=1)
    skip: int = Field(default=0, ge=0)


class Recent(RpcMessage):
    """Stage 0: the results since the last time this was asked; answered by ``RecentReply``, at
    once."""

    type: Literal["recent"] = "recent"


class Traffic(RpcMessage):
    """Ask for the traffic over the downstream cut so far; answered by ``TrafficReply``.
    Refused where there is no such connection."""

    type: Literal["traffic"] = "traffic"


class Arrivals(RpcMessage):
    """Ask for the arrivals over the upstream cut so far; answered by ``ArrivalsReply``.
    Refused where there is no such connection."""

    type: Literal["arrivals"] = "arrivals"


class Drain(RpcMessage):
    """Stage 0: admit nothing more, wait for all results; answered by ``Ack``."""

    type: Literal["drain"] = "drain"


class FrozenHashRequest(RpcMessage):
    """Hash the frozen tensors as they are in memory now; answered by ``FrozenHashReply``."""

    type: Literal["frozen_hash"] = "frozen_hash"


class Stop(RpcMessage):
    """Write the ledger, answer ``Ack``, exit with status 0. Drain first."""

    type: Literal["stop"] = "stop"


class Ack(RpcMessage):
    """Done, at ``t_ns`` (monotonic)."""

    type: Literal["ack"] = "ack"
    t_ns: int


class Activated(RpcMessage):
    """The first frame under the new generation is ``first_sequence``, admitted after ``t_ns``."""

    type: Literal["activated"] = "activated"
    t_ns: int
    first_sequence: int


class ResultsReply(RpcMessage):
    """Results of consecutive frames under one generation, measured at the source.

    Latency is from admission to result, per frame. The times bound what was counted.
    """

    type: Literal["results_reply"] = "results_reply"
    frames: int
    samples: int
    correct: int
    latency_ms_median: float
    latency_ms_p95: float
    t_first_admitted_ns: int
    t_last_admitted_ns: int
    t_last_result_ns: int

    @property
    def accuracy(self) -> float:
        """Share of the images whose class was predicted, 0..1."""
        return self.correct / self.samples


class RecentReply(RpcMessage):
    """Generation and latency of each frame that came back, in order, whatever generation is active
    now; generation and age of the oldest that has not (``None``: nothing is in flight)."""

    type: Literal["recent_reply"] = "recent_reply"
    frames: tuple[tuple[int, float], ...]
    waiting: tuple[int, float] | None = None


class GenerationTraffic(BaseModel):
    """Activation frames sent under one generation; ``sent_bytes`` counts headers and payloads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int
    samples: int
    sent_bytes: int


class TrafficReply(RpcMessage):
    """Traffic over the downstream cut by generation, and the sending kernel's view of the path.

    ``delivery_rate_mbit`` and ``rtt_ms`` are ``TCP_INFO``'s latest delivery rate (what the peer
    acknowledged over time; Cheng et al., draft-cheng-iccrg-delivery-rate-estimation) and smoothed
    round-trip time.
    """

    type: Literal["traffic_reply"] = "traffic_reply"
    delivery_rate_mbit: float
    rtt_ms: float
    generations: dict[int, GenerationTraffic]


class GenerationArrivals(BaseModel):
    """Activation frames received under one generation.

    ``transfer_ms_median`` is how long the receiver had to wait for a frame's payload, once it had
    the header and a buffer: bytes over the rate the connection really gave, without the
    propagation delay and without either end's computing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int
    samples: int
    transfer_ms_median: float


class ArrivalsReply(RpcMessage):
    """Arrivals over the upstream cut, by generation.

    ``recent_rate_mbit`` is the median rate at which the payloads of the latest frames came in;
    ``None`` where they were too short to tell.
    """

    type: Literal["arrivals_reply"] = "arrivals_reply"
    recent_rate_mbit: float | None = None
    generations: dict[int, GenerationArrivals]


class FrozenHashReply(RpcMessage):
    """SHA-256 over names, dtypes, shapes and bytes of the stage's frozen tensors."""

    type: Literal["frozen_hash_reply"] = "frozen_hash_reply"
    frozen_sha256: str


class Refusal(RpcMessage):
    """The request was not carried out, or the stage is about to end: ``reason`` says why."""

    type: Literal["refusal"] = "refusal"
    reason: str


Request = Annotated[
    Configure
    | LoadLayers
    | LoadCut
    | LoadModule
    | Prepare
    | Start
    | Activate
    | Results
    | Recent
    | Traffic
    | Arrivals
    | Drain
    | FrozenHashRequest
    | Stop,
    Field(discriminator="type"),
]
Reply = Annotated[
    Ack
    | Activated
    | ResultsReply
    | RecentReply
    | TrafficReply
    | ArrivalsReply
    | FrozenHashReply
    | Refusal,
    Field(discriminator="type"),
]

T = TypeVar("T")
_REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
_REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)


def parse_request(payload: bytes | memoryview) -> Request:
    """A controller's request; ``WireError`` when it is none."""
    return _parsed(_REQUEST, payload)


def parse_reply(payload: bytes | memoryview) -> Reply:
    """A stage's reply; ``WireError`` when it is none."""
    return _parsed(_REPLY, payload)


def _parsed(adapter: TypeAdapter[T], payload: bytes | memoryview) -> T:
    try:
        return adapter.validate_json(bytes(payload))
    except ValidationError as error:
        raise WireError(f"malformed control message: {error}") from None
