"""A stage's part of the model: its layers, and for each generation the halves of its cuts."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stage_node.contract import ActivationContract
from stage_node.cut import Cut
from stage_node.digest import frozen_sha256
from stage_node.errors import BadModelError, ContractMismatchError, StageNodeError, WireError
from stage_node.messages import Configure, Side
from stage_node.models import build_model, load_weights

SAFETENSORS_HEADER_BYTES = 1 << 16


class UnpreparedGenerationError(StageNodeError):
    """A frame of a generation arrived that this stage was never told how to serve."""


@dataclass(frozen=True, eq=False)
class Generation:
    """How to serve the frames of one generation.

    ``widths`` are the channels over each cut of the pipeline, ``channels`` those that arrive here.
    """

    widths: tuple[int | None, ...]
    channels: int
    decoder: nn.Module
    encoder: nn.Module


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
        _check(configuration.upstream, self._input_shape)
        _check(configuration.downstream, self._output_shape)
        self._cuts: dict[tuple[int, Side], Cut] = {}
        self._generations: dict[int, Generation] = {}
        self.loaded = False
        self._rehearse(self._segment, self._input_shape)
        self.prepare(0, (None,) * (configuration.stages - 1))

    @property
    def weights_bytes(self) -> int:
        """Upper bound of the layers' size as safetensors."""
        tensors = self._segment.state_dict().values()
        return SAFETENSORS_HEADER_BYTES + sum(int(tensor.nbytes) for tensor in tensors)

    def cut_bytes(self, cut: int, side: Side) -> int:
        """Upper bound of a cut's size as safetensors."""
        channels = self._contract(cut, side).shape[0]
        return SAFETENSORS_HEADER_BYTES + 4 * channels * (channels + 1)

    def load_layers(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over weights; ``BadModelError`` unless they are exactly this stage's."""
        load_weights(self._segment, tensors)
        self.loaded = True

    def load_cut(self, cut: int, side: Side, tensors: Mapping[str, Tensor]) -> None:
        """Use this basis in the generations prepared from now on."""
        channels = self._contract(cut, side).shape[0]
        self._cuts[cut, side] = Cut.from_tensors(tensors, channels)

    def prepare(self, generation: int, widths: tuple[int | None, ...]) -> None:
        """Make ready to serve a generation; ``BadModelError`` when it cannot be."""
        stage, stages = self._configuration.stage, self._configuration.stages
        if len(widths) != stages - 1:
            raise BadModelError(f"{len(widths)} widths for {stages - 1} cuts")
        known = self._generations.get(generation)
        if known and known.widths != widths:
            raise BadModelError(f"generation {generation} already means widths {known.widths}")
        if known:
            return
        incoming = widths[stage - 1] if stage else None
        outgoing = widths[stage] if stage < stages - 1 else None
        prepared = Generation(
            widths=widths,
            channels=incoming or self._input_shape[0],
            decoder=self._half(stage - 1, "decoder", incoming),
            encoder=self._half(stage, "encoder", outgoing),
        )
        self._rehearse(prepared.decoder, (prepared.channels, *self._input_shape[1:]))
        self._rehearse(prepared.encoder, self._output_shape)
        self._generations[generation] = prepared

    def prepared(self, generation: int) -> tuple[int | None, ...]:
        """The widths that a generation means; ``UnpreparedGenerationError`` if nobody said."""
        return self._generation(generation).widths

    @torch.inference_mode()
    def run(self, generation: int, x: Tensor) -> Tensor:
        """What this stage sends for the batch it received.

        ``UnpreparedGenerationError`` when the generation is not known, ``WireError`` when the
        batch has not that generation's number of channels.
        """
        halves = self._generation(generation)
        if x.shape[1] != halves.channels:
            raise WireError(
                f"{x.shape[1]} channels where generation {generation} has {halves.channels}"
            )
        output: Tensor = halves.encoder(self._segment(halves.decoder(x)))
        return output

    def frozen_sha256(self) -> str:
        """Hash of the tensors of all layers that are no fringe layers."""
        return frozen_sha256(self._segment.state_dict(), self._configuration.fringe)

    def _generation(self, generation: int) -> Generation:
        try:
            return self._generations[generation]
        except KeyError:
            raise UnpreparedGenerationError(f"generation {generation} was not prepared") from None

    def _half(self, cut: int, side: Side, width: int | None) -> nn.Module:
        if width is None:
            return nn.Identity()
        channels = self._contract(cut, side).shape[0]
        if not 1 <= width <= channels:
            raise BadModelError(f"cut {cut} has 1 to {channels} channels, not {width}")
        if (cut, side) not in self._cuts:
            raise BadModelError(f"the {side} of cut {cut} was not loaded")
        half = self._cuts[cut, side]
        return half.encoder(width) if side == "encoder" else half.decoder(width)

    def _contract(self, cut: int, side: Side) -> ActivationContract:
        contract = (
            self._configuration.downstream if side == "encoder" else self._configuration.upstream
        )
        if contract is None or contract.cut != cut:
            raise BadModelError(f"this stage has no {side} of cut {cut}")
        return contract

    @torch.inference_mode()
    def _rehearse(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        """Run once on nothing: kernels are chosen now, so that the first real frame is not late."""
        module(torch.zeros(self._configuration.batch, *shape))


def _check(contract: ActivationContract | None, shape: tuple[int, ...]) -> None:
    if contract and contract.shape != shape:
        raise ContractMismatchError(
            f"cut {contract.cut}: contract of {contract.shape}, layers of {shape}"
        )
