"""Which configurations a network is trained for: pure distributions over configurations.

A configuration (b1, b2, b3) keeps the leftmost residual blocks of each inner block. The order in
which blocks are dropped and the probability of each configuration make a training scheme (Ayed
et al., "Accordion", section "Performance evaluation"):

``resnet``      always the full model; blocks are dropped as in ``coml``.
``coml``        drops blocks from the right end of inner block 3, then 2, then 1.
``block-coml``  drops the same number from each inner block.
"""

from random import Random
from typing import Literal

from stage_node.models import Configuration

Scheme = Literal["resnet", "coml", "block-coml"]
SCHEMES: tuple[Scheme, ...] = ("resnet", "coml", "block-coml")

Distribution = dict[Configuration, float]
"""Probability of each configuration; they sum to 1."""


def ladder(
    scheme: Scheme, full: Configuration, smallest: Configuration = (0, 0, 0)
) -> tuple[Configuration, ...]:
    """The configurations of a scheme in growing order, the full one last.

    ``smallest`` counts the blocks that cannot be dropped. A configuration without any residual
    block is no rung.
    """
    if scheme == "block-coml":
        kept = range(max(full) + 1)
        rungs = [
            tuple(max(low, min(j, high)) for low, high in zip(smallest, full, strict=True))
            for j in kept
        ]
    else:
        rungs = [smallest]
        for inner in range(len(full)):
            for _ in range(full[inner] - smallest[inner]):
                rung = list(rungs[-1])
                rung[inner] += 1
                rungs.append(tuple(rung))
    return tuple(rung for rung in dict.fromkeys(rungs) if any(rung))


def full_or_uniform(rungs: tuple[Configuration, ...], p_full: float) -> Distribution:
    """The full model with probability ``p_full``, else each other rung alike."""
    if not 0 <= p_full <= 1:
        raise ValueError(f"a probability lies in 0..1, not {p_full}")
    if len(rungs) == 1:
        return {rungs[0]: 1.0}
    others = (1 - p_full) / (len(rungs) - 1)
    return {**dict.fromkeys(rungs[:-1], others), rungs[-1]: p_full}


def scheme_distribution(
    scheme: Scheme, rungs: tuple[Configuration, ...], p_full: float
) -> Distribution:
    """What a scheme trains: ``coml`` with ``p_full`` 0.5 is the paper's CoML-05."""
    return full_or_uniform(rungs, 1.0 if scheme == "resnet" else p_full)


def draw(distribution: Distribution, random: Random) -> Configuration:
    """One configuration at random."""
    return random.choices(tuple(distribution), tuple(distribution.values()))[0]


def mean_blocks(distribution: Distribution) -> float:
    """Expected share of the full model's blocks in one iteration: what training costs."""
    full = max(sum(configuration) for configuration in distribution)
    return sum(p * sum(configuration) for configuration, p in distribution.items()) / full
