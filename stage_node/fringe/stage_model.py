"""A stage's part of the model: its layers, and for each generation the halves of its cuts."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stage_node.errors import BadModelError, ContractMismatchError, StageNodeError, WireError
from stage_node.fringe.halves import SAFETENSORS_HEADER_BYTES, Half, Residents
from stage_node.fringe.messages import Configure, LoadModule, Side
from stage_node.models import Segment, build_model, load_weights
from stage_node.models.frozen import frozen_sha256
from stage_node.wire.codecs import Coding, plain
from stage_node.wire.contract import ActivationContract
from stage_node.wire.rung import UNCOMPRESSED, Rung


class UnpreparedGenerationError(StageNodeError):
    """A frame of a generation arrived that this stage was never told how to serve."""


@dataclass(frozen=True, eq=False)
class Generation:
    """Service of the frames of one generation.

    ``rungs`` has one for each cut of the pipeline. ``layers`` are the stage's own, tuned or pruned
    copies in the place of fringe layers where a rung says so.
    """

    rungs: tuple[Rung, ...]
    receiving: Half
    layers: nn.Module
    sending: Half

    def run(self, x: Tensor) -> Tensor:
        """From what was decoded to what is to be coded."""
        output: Tensor = self.sending.transform(self.layers(self.receiving.transform(x)))
        return output


class StageModel:
    """A stage's layers, between the decoder of its upstream and the encoder of its downstream cut.

    One thread runs frames while another prepares generations: a prepared generation never changes.
    """

    def __init__(self, configuration: Configure) -> None:
        """``BadModelError`` or ``ContractMismatchError`` where the configuration makes no sense."""
        self._configuration = configuration
        model = build_model(configuration.model).eval()
        self._segment = model.segment(configuration.layers).requires_grad_(False)
        shapes = [(1, *model.input_shape), *model.shapes().values()]
        first = model.layer_names.index(configuration.layers[0])
        self._input_shape = shapes[first][1:]
        self._output_shape = shapes[first + len(configuration.layers)][1:]
        self._residents = self._make_residents()
        self._generations: dict[int, Generation] = {}
        self.loaded = False
        self.prepare(0, (UNCOMPRESSED,) * (configuration.stages - 1))

    @property
    def weights_bytes(self) -> int:
        """Upper bound of the layers' size as safetensors."""
        tensors = self._segment.state_dict().values()
        return SAFETENSORS_HEADER_BYTES + sum(int(tensor.nbytes) for tensor in tensors)

    def cut_bytes(self, cut: int, side: Side) -> int:
        """Upper bound of a cut's size as safetensors."""
        return self._residents_of(cut, side).cut_bytes

    def module_bytes(self, request: LoadModule) -> int:
        """Upper bound of the size of a module's half as safetensors."""
        return self._residents_of(request.cut, request.side).module_bytes(request)

    def load_layers(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over weights; ``BadModelError`` unless they are exactly this stage's."""
        load_weights(self._segment, tensors)
        self.loaded = True

    def load_cut(
        self, cut: int, side: Side, tensors: Mapping[str, Tensor], layers: tuple[str, ...] = ()
    ) -> None:
        """Use this cut in the generations prepared from now on; ``layers`` are its fringe here."""
        self._residents_of(cut, side).load_cut(tensors, layers)

    def load_module(self, request: LoadModule, tensors: Mapping[str, Tensor]) -> None:
        """Make a distilled module resident; the layers of the model stay as they are."""
        self._residents_of(request.cut, request.side).load_module(request, tensors)

    def prepare(self, generation: int, rungs: tuple[Rung, ...]) -> None:
        """Make ready to serve a generation; ``BadModelError`` when it cannot be."""
        stage, stages = self._configuration.stage, self._configuration.stages
        if len(rungs) != stages - 1:
            raise BadModelError(f"{len(rungs)} rungs for {stages - 1} cuts")
        known = self._generations.get(generation)
        if known and known.rungs != rungs:
            names = ", ".join(rung.name for rung in known.rungs)
            raise BadModelError(f"generation {generation} already means {names}")
        if known:
            return
        receiving = self._half("decoder", rungs[stage - 1] if stage else UNCOMPRESSED)
        sending = self._half("encoder", rungs[stage] if stage < stages - 1 else UNCOMPRESSED)
        layers = self._layers_under(receiving, sending)
        prepared = Generation(rungs, receiving, layers, sending)
        self._rehearse(prepared)
        self._generations[generation] = prepared

    def prepared(self, generation: int) -> tuple[Rung, ...]:
        """The rungs that a generation means; ``UnpreparedGenerationError`` if it is unknown."""
        return self._generation(generation).rungs

    def incoming(self, generation: int) -> Coding:
        """Coding of a generation's frames that arrive here."""
        return self._generation(generation).receiving.coding

    def outgoing(self, generation: int) -> Coding:
        """Coding of a generation's frames that leave here."""
        return self._generation(generation).sending.coding

    @torch.inference_mode()
    def run(self, generation: int, x: Tensor) -> Tensor:
        """Run this stage's layers on a received batch; returns what to send.

        ``UnpreparedGenerationError`` when the generation is not known, ``WireError`` when the
        batch has not that generation's shape.
        """
        prepared = self._generation(generation)
        if x.shape[1:] != prepared.receiving.coding.shape:
            raise WireError(
                f"a batch of {tuple(x.shape)} where generation {generation} has "
                f"(N, {prepared.receiving.coding.shape})"
            )
        return prepared.run(x)

    def frozen_sha256(self) -> str:
        """Hash of the tensors of all layers that are no fringe layers."""
        return frozen_sha256(self._segment.state_dict(), self._configuration.fringe)

    def _generation(self, generation: int) -> Generation:
        try:
            return self._generations[generation]
        except KeyError:
            raise UnpreparedGenerationError(f"generation {generation} was not prepared") from None

    def _make_residents(self) -> dict[Side, Residents]:
        own = self._configuration
        ends: tuple[tuple[Side, ActivationContract | None, tuple[int, ...]], ...] = (
            ("decoder", own.upstream, self._input_shape),
            ("encoder", own.downstream, self._output_shape),
        )
        residents: dict[Side, Residents] = {}
        for side, contract, shape in ends:
            if contract is None:
                continue
            if contract.shape != shape:
                raise ContractMismatchError(
                    f"cut {contract.cut}: contract of {contract.shape}, layers of {shape}"
                )
            residents[side] = Residents(contract, side, own.model, own.fringe)
        return residents

    def _residents_of(self, cut: int, side: Side) -> Residents:
        own = self._configuration
        contract = own.downstream if side == "encoder" else own.upstream
        if contract is None or contract.cut != cut:
            raise BadModelError(f"this stage has no {side} of cut {cut}")
        return self._residents[side]

    def _half(self, side: Side, rung: Rung) -> Half:
        """At the ends of the chain is no cut: images come in and logits go out as they are."""
        if side in self._residents:
            return self._residents[side].half(rung)
        shape = self._output_shape if side == "encoder" else self._input_shape
        return Half(nn.Identity(), plain(shape))

    def _layers_under(self, receiving: Half, sending: Half) -> nn.Module:
        """The own layers, shared, but for the copies that the rungs of either side make."""
        if both := sorted(receiving.layers.keys() & sending.layers.keys()):
            raise BadModelError(f"the modules of both cuts bring their own {', '.join(both)}")
        if not receiving.changes_layers and not sending.changes_layers:
            return self._segment
        layers = {**self._segment.layers, **receiving.layers, **sending.layers}
        for pruning in (receiving.pruning, sending.pruning):
            layers = layers if pruning is None else pruning.applied(layers)
        return Segment(layers)

    @torch.inference_mode()
    def _rehearse(self, generation: Generation) -> None:
        """Run once on nothing: kernels are chosen now, so that the first real frame is not late."""
        coding = generation.receiving.coding
        x = torch.zeros(self._configuration.batch, *coding.shape)
        output = generation.run(coding.decode(coding.encode(x), tuple(x.shape)))
        generation.sending.coding.encode(output)
