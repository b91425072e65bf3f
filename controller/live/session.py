"""The controller's side of a live pipeline: hand out the model, switch the cuts, measure."""

import contextlib
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from controller.errors import FrozenLayerChangedError
from controller.fringe.fringe import Fringe, find_fringe
from controller.ladder.bottlenecks import DistilledModule
from controller.ladder.ladder import LadderTable
from controller.live.pipeline import CutObservation, Observation, Rungs, SplitName
from controller.live.plan import PipelinePlan
from stage_node.errors import StageNodeError
from stage_node.fringe.cut import Cut
from stage_node.fringe.messages import Ack, Configure, Stop
from stage_node.fringe.rpc import ControlClient
from stage_node.models import ChainModel
from stage_node.models.frozen import combined_sha256, frozen_sha256, layer_of
from stage_node.records.events import Emit, GenerationActivated, Progress
from stage_node.wire.codecs import Codec
from stage_node.wire.contract import ActivationContract
from stage_node.wire.rung import UNCOMPRESSED

PROGRESS_IMAGES = 500
"""A measurement over more images than this reports its progress in between."""

FAREWELL_TIMEOUT_S = 5.0
"""How long a stage of a failed run may take to stop before it is left to itself."""


@contextlib.contextmanager
def connected(plan: PipelinePlan) -> Iterator[tuple[ControlClient, ...]]:
    """Conversations with all stages; whatever happens, every stage is asked to stop.

    Stages are stopped in the order of the pipeline, so that each still has its receiver while it
    empties. A stage that cannot be stopped ends on its own when its conversation closes.
    """
    with contextlib.ExitStack() as conversations:
        clients = tuple(
            conversations.enter_context(
                ControlClient(stage.name, stage.control_ip, stage.control_port)
            )
            for stage in plan.stages
        )
        try:
            yield clients
        except BaseException:
            for client in clients:
                with contextlib.suppress(StageNodeError):
                    client.request(Stop(), Ack, timeout_s=FAREWELL_TIMEOUT_S)
            raise
        for client in clients:
            client.stop()


def configurations(
    plan: PipelinePlan, model: ChainModel, table: LadderTable
) -> tuple[Configure, ...]:
    """Configurations of the stages: place, neighbours and the two contracts.

    A contract allows the codecs of its ladder's rungs and no others.
    """
    partition = plan.partition
    contracts = [
        ActivationContract(
            cut=cut,
            shape=ladder.shape,
            max_batch=plan.batch,
            codecs=tuple(dict.fromkeys(Codec.of(rung.rung).name for rung in ladder.rungs)),
        )
        for cut, ladder in enumerate(table.ladders)
    ]
    neighbours = itertools.zip_longest(plan.stages, [None, *contracts], contracts, plan.stages[1:])
    model_hash = hashlib.sha256(plan.checkpoint.read_bytes()).hexdigest()
    fringe = find_fringe(partition, plan.targets.fringe_layers)
    return tuple(
        Configure(
            stage=position,
            stages=len(plan.stages),
            model=model.spec,
            model_hash=model_hash,
            layers=stage.layers,
            fringe=_within(fringe, stage.layers),
            upstream=upstream,
            downstream=downstream,
            listen_ip=stage.listen_ip,
            data_port=stage.data_port,
            next_ip=following.listen_ip if following else None,
            next_port=following.data_port if following else None,
            results_ip=plan.stages[0].control_ip,
            results_port=plan.results_port,
            window=plan.window,
            batch=plan.batch,
            dataset=plan.dataset if position == 0 else None,
            validation_images=plan.validation_images if position == 0 else None,
            charges=stage.charges,
        )
        for position, (stage, upstream, downstream, following) in enumerate(neighbours)
    )


def distribute(
    clients: Sequence[ControlClient], configured: Sequence[Configure], weights: Mapping[str, Tensor]
) -> str:
    """Step 510: every stage learns its place and receives its own layers, and nothing else.

    Returns the digest of all frozen tensors, computed here; ``FrozenLayerChangedError`` where a
    stage holds anything else.
    """
    digests = []
    for client, configuration in zip(clients, configured, strict=True):
        own = {
            name: tensor
            for name, tensor in weights.items()
            if layer_of(name) in configuration.layers
        }
        client.configure(configuration)
        loaded = client.load_layers(own)
        digests.append(frozen_sha256(own, configuration.fringe))
        if loaded != digests[-1]:
            raise FrozenLayerChangedError(
                f"stage {client.name} did not load the weights that were sent to it"
            )
    return combined_sha256(digests)


def load_cuts(
    clients: Sequence[ControlClient],
    cuts: Sequence[Cut],
    fringe: Fringe,
    modules: Sequence[DistilledModule] = (),
) -> None:
    """Make every rung resident: both sides of a cut get the same basis and the same order of
    channels, which serve every width, and their halves of its distilled modules."""
    ends = zip(cuts, itertools.pairwise(clients), fringe.pairs, strict=True)
    for number, (cut, (sender, receiver), (sending, receiving)) in enumerate(ends):
        sender.load_cut(number, "encoder", cut.tensors(), sending)
        receiver.load_cut(number, "decoder", cut.tensors(), receiving)
    for module in modules:
        sender, receiver = clients[module.cut], clients[module.cut + 1]
        sender.load_module(module.request("encoder"), module.tensors("encoder"))
        receiver.load_module(module.request("decoder"), module.tensors("decoder"))


def start(clients: Sequence[ControlClient]) -> None:
    """Let frames flow under generation 0: everyone connects to a stage that already listens."""
    for client in reversed(clients):
        client.start()


def frozen_digest(clients: Sequence[ControlClient]) -> str:
    """The digest of all frozen tensors as the stages hold them in memory now."""
    return combined_sha256(client.frozen_hash() for client in clients)


class LivePipeline:
    """A ``Pipeline`` of stages that serve.

    ``images`` says over how many images of each split to measure; ``warmup_frames`` are served
    before under each new generation. A generation is prepared at every stage before the source
    stamps the first frame with it: a two-phase consistent update (Reitblatt et al., SIGCOMM
    2012), so no frame meets mismatched halves of a cut.
    """

    def __init__(
        self,
        clients: Sequence[ControlClient],
        images: Mapping[SplitName, int],
        warmup_frames: int,
        emit: Emit,
    ) -> None:
        self._clients = clients
        self._source = clients[0]
        self._images = images
        self._warmup_frames = warmup_frames
        self._emit = emit
        self._generations: list[Rungs] = [(UNCOMPRESSED,) * (len(clients) - 1)]

    def prepare(self, rungs: Rungs) -> int:
        """Make ready everywhere to serve ``rungs``, as a new generation; returns its number."""
        generation = len(self._generations)
        self._generations.append(rungs)
        for client in self._clients:
            client.prepare(generation, rungs)
        return generation

    def observe(self, rungs: Rungs, split: SplitName) -> Observation:
        """Switch to ``rungs`` as a new generation and measure it on the live pipeline."""
        generation = self.prepare(rungs)
        self.activate(generation, split)
        total = self._images[split]
        for count in [*range(PROGRESS_IMAGES, total, PROGRESS_IMAGES), total]:
            results = self._source.results(generation, count, self._warmup_frames)
            self._emit(Progress(task=f"{split} images", done=count, total=total))
        return Observation(
            generation=generation,
            rungs=rungs,
            split=split,
            correct=results.correct,
            samples=results.samples,
            latency_ms_median=results.latency_ms_median,
            connections=tuple(
                _connection(sender, receiver, generation)
                for sender, receiver in itertools.pairwise(self._clients)
            ),
            begin_ns=results.t_first_admitted_ns,
            end_ns=results.t_last_admitted_ns,
        )

    def resume(self, generation: int) -> None:
        """Serve under an earlier generation again; it is still resident at every stage."""
        self.activate(generation, "validation")

    def activate(
        self, generation: int, split: SplitName, frame_ms: float = 0.0, go_on: bool = False
    ) -> None:
        """Let the source stamp its frames with a prepared generation from now on."""
        activated = self._source.activate(generation, split, frame_ms, go_on)
        self._emit(
            GenerationActivated(
                t_ns=activated.t_ns,
                generation=generation,
                rungs=tuple(rung.name for rung in self._generations[generation]),
            )
        )


def _connection(sender: ControlClient, receiver: ControlClient, generation: int) -> CutObservation:
    sent = sender.traffic().generations[generation]
    received = receiver.arrivals().generations[generation]
    return CutObservation(
        size_bytes=sent.sent_bytes / sent.samples,
        transfer_ms=received.transfer_ms_median * received.frames / received.samples,
    )


def _within(fringe: Fringe, layers: Sequence[str]) -> tuple[str, ...]:
    return tuple(layer for layer in fringe.layers if layer in layers)
