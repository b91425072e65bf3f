"""Start of a training: at the weights of a network of the same form."""

import torch
from torch import Tensor

from controller.errors import ControllerError
from stage_node.models import ChainModel


class BadStartError(ControllerError):
    """The network to begin at is too different."""

    exit_status = 2


@torch.no_grad()
def adopt(model: ChainModel, source: ChainModel) -> None:
    """Give ``model`` the weights of ``source``, layer by layer.

    A convolution of ``model`` may have more input channels: the first residual block of an inner
    block sees, with pooling before it, the channels of the block before in the middle and zeros on
    either side (``stage_node.models.parts.pad_channels``); its weights for those begin at zero.
    ``BadStartError`` names the first tensor that fits neither way.
    """
    own, given = model.state_dict(), source.state_dict()
    if own.keys() != given.keys():
        name = sorted(own.keys() ^ given.keys())[0]
        raise BadStartError(f"only one of the two networks has the tensor {name}")
    for name, tensor in own.items():
        tensor.copy_(_widened(given[name], tensor.shape, name))


def _widened(tensor: Tensor, shape: torch.Size, name: str) -> Tensor:
    """A tensor, with zeros around its input channels where ``shape`` has more of them."""
    if tensor.shape == shape:
        return tensor
    extra = shape[1] - tensor.shape[1] if len(shape) == 4 == tensor.dim() else -1
    if extra < 0 or (shape[0], *shape[2:]) != (tensor.shape[0], *tensor.shape[2:]):
        raise BadStartError(
            f"{name} is {tuple(tensor.shape)} in the network to begin at, {tuple(shape)} here"
        )
    wide = tensor.new_zeros(shape)
    wide[:, extra // 2 : extra // 2 + tensor.shape[1]] = tensor
    return wide
