"""Costs of a rung besides its payloads: computing, parameters, their delivery."""

from collections.abc import Iterator

from torch import Tensor, nn

from controller.ladder.ladder import FringeCost
from stage_node.models.chain import counted_macs
from stage_node.wire.codecs import Codec, Coding


def fringe_cost(sending: nn.Module, receiving: nn.Module, inputs: Tensor) -> FringeCost:
    """Cost of what runs before and behind the wire on ``inputs`` (1, C, H, W) of the first."""
    sender_macs, codes = counted_macs(sending, inputs)
    receiver_macs, _ = counted_macs(receiving, codes)
    own = [tensor for side in (sending, receiving) for tensor in _parameters(side)]
    return FringeCost(
        sender_macs=sender_macs,
        receiver_macs=receiver_macs,
        parameters=sum(int(tensor.count_nonzero()) for tensor in own),
        weight_bytes=sum(len(coded_weights(tensor)) for tensor in own),
    )


def coded_weights(tensor: Tensor) -> memoryview:
    """A tensor of parameters as a payload of the wire's codecs; nothing is lost."""
    return weights_coding(tensor).encode(tensor.reshape(1, -1))


def weights_coding(tensor: Tensor) -> Coding:
    """Bytes of a tensor as ``coded_weights`` codes it."""
    kept = int(tensor.count_nonzero()) / tensor.numel()
    codec = Codec(sparse=0 < kept < 1, zstd=True)
    return Coding(codec, (tensor.numel(),), keep=kept)


def _parameters(module: nn.Module) -> Iterator[Tensor]:
    return (parameter.detach() for parameter in module.parameters())
