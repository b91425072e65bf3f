"""Start of a bottleneck's training: near what is known already, which saves epochs.

The encoder's inner block starts as a copy of the receiving fringe layer where both have the same
form: those are features that the frozen layers understand. Its codes start along the principal
directions of those features, spread over the quantiser's range.
"""

import torch
from torch import Tensor, nn

from controller.distillation.training import Student
from controller.ladder.basis import Moments, principal_basis
from stage_node.errors import BadModelError
from stage_node.fringe.bottleneck import TrainedBottleneck

# sigmoid(1.7 z) is close to the distribution function of a standard normal: levels equally used.
SPREAD = 1.7
# Codes of a linear bottleneck span all but the most extreme values, this share on either side.
CUT_OFF = 1e-3


@torch.no_grad()
def warm_start(student: Student, activations: Tensor) -> None:
    """Set the bottleneck's first weights, from some training activations (N, C, H, W) float32."""
    student.eval()
    x = student.sending(activations)
    encoder, decoder = student.bottleneck.encoder, student.bottleneck.decoder
    _copy_if_alike(next(iter(student.receiving.layers.values())), encoder.block)
    features = encoder.block(x)
    basis = principal_basis(Moments.of(features))
    directions = basis.vectors[:, : student.bottleneck.spec.channels]
    z = torch.einsum("nchw,ck->nkhw", features - basis.mean[:, None, None], directions)
    offset = basis.mean @ directions
    if student.bottleneck.spec.hidden:
        scale = SPREAD / z.std(dim=(0, 2, 3)).clamp(min=1e-6)
        _set(encoder.project, (directions * scale).T, -offset * scale)
        mean = x.mean(dim=(0, 2, 3))
        decoder.restore.bias.copy_(mean.repeat_interleave(student.bottleneck.spec.stride**2))  # type: ignore[union-attr]
    else:
        flat = z.movedim(1, 0).flatten(1).sort(dim=1).values
        edge = int(CUT_OFF * flat.shape[1])
        low, high = flat[:, edge], flat[:, -1 - edge]
        span = (high - low).clamp(min=1e-6)
        _set(encoder.project, (directions / span).T, -(offset + low) / span)
        _set(decoder.restore, directions * span / 2, basis.mean + directions @ (high + low) / 2)


@torch.no_grad()
def continue_from(student: Student, trained: TrainedBottleneck) -> None:
    """Begin where another bottleneck of the same form ended, narrower or wider.

    More channels than it had are ignored by the decoder at first. Of its own too many, the first
    are kept: codes started along principal directions, the most important first.
    ``BadModelError`` where the forms differ in more than the number of channels.
    """
    spec, other = student.bottleneck.spec, trained.spec
    if other != spec.model_copy(update={"channels": other.channels}):
        raise BadModelError(f"a bottleneck {spec} does not begin at {other}")
    own = student.state_dict()
    for name, tensor in _tensors(trained, student).items():
        if name.startswith("bottleneck.decoder."):
            own[name].zero_()
        common = tuple(
            slice(min(sizes)) for sizes in zip(own[name].shape, tensor.shape, strict=True)
        )
        own[name][common] = tensor[common]


def _tensors(trained: TrainedBottleneck, student: Student) -> dict[str, Tensor]:
    """The tensors of a trained bottleneck under the names that they have in a student."""
    sending = student.sending.state_dict()
    return {
        **trained.encoder.state_dict(prefix="bottleneck.encoder."),
        **trained.decoder.state_dict(prefix="bottleneck.decoder."),
        **{
            f"{'sending' if name in sending else 'receiving'}.{name}": tensor
            for name, tensor in trained.layers.items()
        },
    }


def _copy_if_alike(source: nn.Module, target: nn.Module) -> None:
    tensors = source.state_dict()
    expected = {name: tensor.shape for name, tensor in target.state_dict().items()}
    if expected == {name: tensor.shape for name, tensor in tensors.items()}:
        target.load_state_dict(tensors)


def _set(conv: nn.Conv2d, matrix: Tensor, bias: Tensor) -> None:
    conv.weight.copy_(matrix[:, :, None, None])
    assert conv.bias is not None
    conv.bias.copy_(bias)
