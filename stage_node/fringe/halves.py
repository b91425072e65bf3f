"""Residents of a stage for one side of a cut: a basis with ranges and an order of the channels,
and distilled modules.

From these it makes *halves*: what lies between the stage's layers and the wire under one rung. A
rung whose basis or module is resident needs nothing sent to become a half.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from stage_node.errors import BadModelError
from stage_node.fringe.bottleneck import Bottleneck, BottleneckSpec
from stage_node.fringe.cut import Cut
from stage_node.fringe.messages import LoadModule, Side
from stage_node.fringe.pruning import Pruning
from stage_node.models import ModelSpec, Segment, build_model, load_weights
from stage_node.wire.codecs import Codec, Coding, Ranges
from stage_node.wire.contract import ActivationContract
from stage_node.wire.rung import QUANTISED, UNCOMPRESSED, Rung

SAFETENSORS_HEADER_BYTES = 1 << 16


@dataclass(frozen=True, eq=False)
class Half:
    """One side of a cut under one rung.

    ``transform`` maps activations to what is coded (sender) or back (receiver); ``layers`` are
    the tuned copies that serve in the place of this side's fringe layers, ``pruning`` what is then
    done to those.
    """

    transform: nn.Module
    coding: Coding
    layers: Mapping[str, nn.Module] = field(default_factory=dict)
    pruning: Pruning | None = None

    @property
    def changes_layers(self) -> bool:
        """Return True if the fringe layers do not serve as they are."""
        return bool(self.layers) or self.pruning is not None

    def serving(self, layers: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
        """The layers of this side's stage as they serve under the rung."""
        tuned = {**layers, **self.layers}
        return tuned if self.pruning is None else self.pruning.applied(tuned)


@dataclass(frozen=True, eq=False)
class ResidentModule:
    """This side's half of a distilled module; without a bottleneck it only has tuned layers."""

    bottleneck: BottleneckSpec | None
    transform: nn.Module
    layers: Mapping[str, nn.Module]


class Residents:
    """Halves of one side of the cut of ``contract``.

    ``fringe`` names the stage's own fringe layers: those a module may bring tuned copies of, and a
    rung may prune.
    """

    def __init__(
        self, contract: ActivationContract, side: Side, model: ModelSpec, fringe: tuple[str, ...]
    ) -> None:
        self._contract = contract
        self._side = side
        self._model = model
        self._fringe = fringe
        self._cut: Cut | None = None
        self._cut_fringe: tuple[str, ...] = ()
        self._modules: dict[str, ResidentModule] = {}
        self._halves: dict[Rung, Half] = {}

    @property
    def cut_bytes(self) -> int:
        """Upper bound of a cut's size as safetensors."""
        channels = self._contract.shape[0]
        return SAFETENSORS_HEADER_BYTES + 4 * channels * (channels + 3 + 4 * len(QUANTISED))

    def module_bytes(self, request: LoadModule) -> int:
        """Upper bound of a module's size as safetensors; ``BadModelError`` as ``load_module``."""
        tensors = self._built(request).state_dict().values()
        return SAFETENSORS_HEADER_BYTES + sum(int(tensor.nbytes) for tensor in tensors)

    def load_cut(self, tensors: Mapping[str, Tensor], layers: tuple[str, ...] = ()) -> None:
        """Use this cut in the halves made from now on; ``layers`` are the fringe layers on this
        side of it. ``BadModelError`` where one is not."""
        self._check_fringe("the cut", layers)
        self._cut = Cut.from_tensors(tensors, self._contract.shape[0])
        self._cut_fringe = layers
        self._halves.clear()

    def load_module(self, request: LoadModule, tensors: Mapping[str, Tensor]) -> None:
        """Make a module resident; ``BadModelError`` unless it fits this side of this cut."""
        built = self._built(request)
        load_weights(built, tensors)
        if not all(tensor.isfinite().all() for tensor in built.state_dict().values()):
            raise BadModelError(f"module {request.module!r}: a tensor is not finite")
        built.eval().requires_grad_(False)
        layers = {name: built.layers[name] for name in request.layers}
        self._modules[request.module] = ResidentModule(
            request.bottleneck, built.transform(), layers
        )
        self._halves.clear()

    def half(self, rung: Rung) -> Half:
        """This side under ``rung``; ``BadModelError`` where what it needs is not resident."""
        if rung not in self._halves:
            self._halves[rung] = self._made(rung)
        return self._halves[rung]

    def _made(self, rung: Rung) -> Half:
        self._check_codec(rung)
        if rung.module is not None:
            return self._module_half(rung)
        channels, *pixels = self._contract.shape
        sent = rung.width or rung.channels or channels
        if not 1 <= sent <= channels:
            raise BadModelError(
                f"cut {self._contract.cut} has 1 to {channels} channels, not {sent}"
            )
        pruning = self._pruning(rung)
        kept = pruning.kept if pruning else None
        ranges = None
        if rung.bits != 32:
            ranges = self._resident_cut().ranges_of(rung.width, rung.bits, kept)
        coding = Coding(Codec.of(rung), (sent, *pixels), rung.keep, ranges)
        return Half(self._transform(rung.width, kept), coding, pruning=pruning)

    def _transform(self, width: int | None, kept: Tensor | None) -> nn.Module:
        if width is None:
            return nn.Identity()
        cut = self._resident_cut()
        return cut.encoder(width, kept) if self._sends else cut.decoder(width, kept)

    def _pruning(self, rung: Rung) -> Pruning | None:
        """Changes of the rung to this side's fringe layers; None if it leaves them alone."""
        if rung.channels is None and rung.weights == 1:
            return None
        cut = self._resident_cut()
        if not self._cut_fringe:
            raise BadModelError(
                f"cut {self._contract.cut}: no fringe layers of its {self._side} to prune"
            )
        kept = None if rung.channels is None else cut.kept(rung.channels)
        return Pruning(self._side, self._cut_fringe, kept, rung.weights)

    def _module_half(self, rung: Rung) -> Half:
        module = self._modules.get(rung.module or "")
        if module is None:
            raise BadModelError(f"module {rung.module!r} of cut {self._contract.cut} is not here")
        spec, codec = module.bottleneck, Codec.of(rung)
        if spec is None:
            ranges = None if rung.bits == 32 else self._resident_cut().ranges_of(None, rung.bits)
            coding = Coding(codec, self._contract.shape, rung.keep, ranges)
        else:
            unit = Ranges(torch.zeros(spec.channels), torch.ones(spec.channels))
            ranges = None if rung.bits == 32 else unit
            coding = Coding(codec, spec.code_shape, rung.keep, ranges)
        return Half(module.transform, coding, module.layers, self._pruning(rung))

    def _check_codec(self, rung: Rung) -> None:
        name = Codec.of(rung).name
        if rung != UNCOMPRESSED and name not in self._contract.codecs:
            raise BadModelError(
                f"cut {self._contract.cut}: codec {name} is not in the contract "
                f"({', '.join(self._contract.codecs)})"
            )

    def _resident_cut(self) -> Cut:
        if self._cut is None:
            raise BadModelError(f"the {self._side} of cut {self._contract.cut} was not loaded")
        return self._cut

    def _check_fringe(self, what: str, layers: tuple[str, ...]) -> None:
        if frozen := sorted(set(layers) - set(self._fringe)):
            raise BadModelError(f"{what}: {', '.join(frozen)} is no fringe layer of this stage")

    @property
    def _sends(self) -> bool:
        return self._side == "encoder"

    def _built(self, request: LoadModule) -> "ModuleHalf":
        self._check_fringe(f"module {request.module!r}", request.layers)
        spec = request.bottleneck
        if spec and spec.in_shape != self._contract.shape:
            raise BadModelError(
                f"module {request.module!r} is for {spec.in_shape}, cut {self._contract.cut} "
                f"is {self._contract.shape}"
            )
        if spec and 4 * math.prod(spec.code_shape) > self._contract.raw_bytes_per_image:
            raise BadModelError(
                f"module {request.module!r}: codes {spec.code_shape} have more elements than "
                f"the activation {spec.in_shape}"
            )
        return ModuleHalf(self._model, spec, request.side, request.layers)


class ModuleHalf(nn.Module):
    """The modules whose tensors one half of a distilled module has, under the same names."""

    def __init__(
        self, model: ModelSpec, spec: BottleneckSpec | None, side: Side, layers: tuple[str, ...]
    ) -> None:
        super().__init__()
        self._bottleneck = [Bottleneck(spec)] if spec else []  # a list hides it from nn.Module
        if spec:
            self.add_module(side, getattr(self._bottleneck[0], side))
        segment: Segment | None = build_model(model).segment(layers) if layers else None
        self.layers = segment.layers if segment else nn.ModuleDict()
        self._side = side

    def transform(self) -> nn.Module:
        """This side's half of the bottleneck."""
        if not self._bottleneck:
            return nn.Identity()
        bottleneck = self._bottleneck[0].eval()
        return bottleneck.encoder if self._side == "encoder" else bottleneck.decoder
