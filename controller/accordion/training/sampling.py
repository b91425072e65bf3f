"""Distributions over the configurations that a network is trained for; pure.

A configuration (b1, b2, b3) keeps the leftmost residual blocks of each inner block. The order in
which blocks are dropped and the probability of each configuration make a training scheme (Ayed
et al., "Accordion", section "Performance evaluation"):

``resnet``      always the full model; blocks are dropped as in ``coml``.
``coml``        drops blocks from the right end of inner block 3, then 2, then 1.
``block-coml``  drops the same number from each inner block.
"""

from collections.abc import Iterable, Mapping
from random import Random
from typing import Literal

from stage_node.records.configuration import Configuration, configuration_name
from stage_node.records.line.transfer_time import bytes_per_ms

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
    """Distribution of a scheme: ``coml`` with ``p_full`` 0.5 is the paper's CoML-05."""
    return full_or_uniform(rungs, 1.0 if scheme == "resnet" else p_full)


def communication_criterion(
    sizes: Mapping[Configuration, int], rates_mbit: Mapping[float, float], deadline_ms: float
) -> Distribution:
    """Each configuration as often as it is expected to be requested over the links there are.

    ``sizes`` are bytes of the prefixes, ``rates_mbit`` maps link throughputs to how often they
    occur (any positive weights). A link asks for the largest configuration that it carries within
    the deadline (Ayed et al., criterion 1); links that carry none are not served and do not count.
    ``ValueError`` where no link carries any.
    """
    return _shares(
        sizes,
        {rate: _largest_within(sizes, bytes_per_ms(rate) * deadline_ms) for rate in rates_mbit},
        rates_mbit,
        f"no throughput carries even {min(sizes.values())} bytes in {deadline_ms:g} ms",
    )


def performance_criterion(
    accuracies: Mapping[Configuration, float], required: Mapping[float, float]
) -> Distribution:
    """Each configuration as often as users are expected to need its accuracy.

    ``accuracies`` (shares) are in growing order of configurations, as a look-up table of an
    earlier training has them; ``required`` maps accuracies to how often they are required. A user
    asks for the smallest configuration that is accurate enough (Ayed et al., criterion 2);
    requirements beyond the best configuration do not count. ``ValueError`` where all are.
    """
    chosen = {
        wanted: next((c for c, accuracy in accuracies.items() if accuracy >= wanted), None)
        for wanted in required
    }
    best = max(accuracies.values())
    return _shares(accuracies, chosen, required, f"no configuration is better than {best:.4f}")


def _largest_within(
    sizes: Mapping[Configuration, int], budget_bytes: float
) -> Configuration | None:
    fitting = [configuration for configuration, size in sizes.items() if size <= budget_bytes]
    return max(fitting, key=lambda configuration: sizes[configuration], default=None)


def _shares(
    configurations: Iterable[Configuration],
    chosen: Mapping[float, Configuration | None],
    weights: Mapping[float, float],
    none_served: str,
) -> Distribution:
    """Normalised weights of the configurations chosen; those without a request get 0."""
    distribution = dict.fromkeys(configurations, 0.0)
    for case, configuration in chosen.items():
        if configuration is not None:
            distribution[configuration] += weights[case]
    total = sum(distribution.values())
    if total <= 0:
        raise ValueError(none_served)
    return {configuration: weight / total for configuration, weight in distribution.items()}


def draw(distribution: Distribution, random: Random) -> Configuration:
    """One configuration at random."""
    return random.choices(tuple(distribution), tuple(distribution.values()))[0]


def draws_in_words(distribution: Distribution) -> str:
    """Word the shares of the configurations, and those never drawn; one clause each."""
    drawn = {c: share for c, share in distribution.items() if share > 0}
    never = [c for c in distribution if c not in drawn]
    clauses = [", ".join(f"{configuration_name(c)} {share:.1%}" for c, share in drawn.items())]
    if never:
        clauses.append(f"never {', '.join(map(configuration_name, never))}")
    return "; ".join(clauses)


def mean_blocks(distribution: Distribution) -> float:
    """Expected share of the full model's blocks in one iteration: what training costs."""
    full = max(sum(configuration) for configuration in distribution)
    return sum(p * sum(configuration) for configuration, p in distribution.items()) / full
