"""The mechanisms of compression (US 2025/0265465 A1, [0038] to [0042]; claim 11), composable.

Each offers variants of a rung: the same rung with its own setting on top. Applied one after the
other they give every combination, and the ladder keeps what is worth keeping.

Two of them prune structures. ``channels`` takes channels out of the fringe layers themselves, which
get smaller; it has settings where those layers are a plain chain. ``width`` leaves the layers alone
and narrows an encoder|decoder pair between them; it works at every cut, over skip connections too.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from stage_node.wire.rung import QUANTISED, UNCOMPRESSED, Bits, Rung

MechanismName = Literal["channels", "weights", "width", "distill", "sparse", "quantise", "zstd"]


@dataclass(frozen=True)
class CutFacts:
    """Facts about a cut for its mechanisms: the channels of its activation, the modules trained for
    it with the bits of their codes, whether every single width is worth a rung, and whether the
    layers on both sides of it are of a plain chain (``stage_node.models.slicing``)."""

    channels: int
    modules: tuple[tuple[str, Bits], ...] = ()
    every_width: bool = False
    is_chain: bool = False

    def below(self, channels: int) -> tuple[int, ...]:
        """Every smaller number of channels, or those a factor of the square root of two apart."""
        if self.every_width:
            return tuple(range(channels - 1, 0, -1))
        halvings = {round(self.channels / 2 ** (step / 2)) for step in range(1, 40)}
        return tuple(sorted((width for width in halvings if 1 <= width < channels), reverse=True))


class Mechanism(ABC):
    """One way to send less; a subclass is known by its ``name``."""

    name: ClassVar[MechanismName]
    registry: ClassVar[dict[str, "Mechanism"]] = {}

    def __init_subclass__(cls) -> None:
        Mechanism.registry[cls.name] = cls()

    @abstractmethod
    def settings(self, rung: Rung, facts: CutFacts) -> Iterable[dict[str, Any]]:
        """The fields of ``rung`` that this mechanism would change, setting by setting."""

    def variants(self, rung: Rung, facts: CutFacts) -> tuple[Rung, ...]:
        """``rung`` itself and every setting of this mechanism on top of it."""
        fields = rung.model_dump(exclude={"name"})
        stronger = [
            Rung.of(facts.channels, **(fields | setting)) for setting in self.settings(rung, facts)
        ]
        return (rung, *stronger)


class Channels(Mechanism):
    """Structured pruning of the fringe layers: the sending one computes fewer channels, the
    receiving one expects fewer, and both have fewer parameters and less to compute."""

    name = "channels"

    def settings(self, rung: Rung, facts: CutFacts) -> Iterable[dict[str, Any]]:
        """Fewer channels, no fewer than the coordinates that cross; none at a skip connection.
        The layers that a module brings were trained for all channels."""
        if rung.module is None and facts.is_chain:
            least = rung.width or 1
            return ({"channels": k} for k in facts.below(facts.channels) if k >= least)
        return ()


class Weights(Mechanism):
    """Unstructured pruning: of the weights of the fringe layers only the largest stay. What is
    sent keeps its shape, so that bytes fall only where coding profits from what is computed."""

    name = "weights"

    def settings(self, rung: Rung, facts: CutFacts) -> Iterable[dict[str, Any]]:
        """Shares that stay, in steps over which accuracy falls from hardly to wholly."""
        return ({"weights": share} for share in KEPT_WEIGHTS)


class Width(Mechanism):
    """Structured pruning of the cut: fewer coordinates cross, the largest variance first."""

    name = "width"

    def settings(self, rung: Rung, facts: CutFacts) -> Iterable[dict[str, Any]]:
        """Fewer coordinates than there are channels."""
        if rung.module is None:
            return ({"width": width} for width in facts.below(rung.channels or facts.channels))
        return ()


class Distill(Mechanism):
    """Knowledge distillation: a trained bottleneck takes the place of the basis (claim 7)."""

    name = "distill"

    def settings(self, rung: Rung, facts: CutFacts) -> Iterable[dict[str, Any]]:
        """Every module that was trained for the cut, at its own number of bits."""
        return (
            {"module": module, "bits": bits}
            for module, bits in facts.modules
            if rung.width is None and rung.channels is None
        )


class Sparse(Mechanism):
    """Unstructured pruning: only the elements of largest magnitude cross, with their places."""

    name = "sparse"

    def settings(self, rung: Rung, facts: CutFacts) -> Iterable[dict[str, Any]]:
        """Half, a quarter, an eighth and a sixteenth of the elements; the codes of a module are
        places in a range and not magnitudes, so none of those is left out."""
        return ({"keep": keep} for keep in (0.5, 0.25, 0.125, 0.0625) if rung.module is None)


class Quantise(Mechanism):
    """Fewer bits for each element, over ranges calibrated per channel."""

    name = "quantise"

    def settings(self, rung: Rung, facts: CutFacts) -> Iterable[dict[str, Any]]:
        """8, 6, 4 and 2 bits; a module brings its own quantiser."""
        return ({"bits": bits} for bits in QUANTISED if rung.module is None)


class Zstd(Mechanism):
    """Lossless coding of whatever the others leave."""

    name = "zstd"

    def settings(self, rung: Rung, facts: CutFacts) -> Iterable[dict[str, Any]]:
        """On."""
        return ({"zstd": True},)


KEPT_WEIGHTS = (0.75, 0.5, 0.375, 0.25, 0.125)

ORDER: tuple[MechanismName, ...] = (
    "channels",
    "weights",
    "width",
    "distill",
    "sparse",
    "quantise",
    "zstd",
)
"""In which mechanisms are applied to an activation, whatever the order they were named in."""

CODING: tuple[MechanismName, ...] = ("width", "distill", "sparse", "quantise", "zstd")
"""Those that leave the model's own layers alone."""


def combinations(
    mechanisms: Sequence[MechanismName],
    facts: CutFacts,
    rungs: tuple[Rung, ...] = (UNCOMPRESSED,),
) -> tuple[Rung, ...]:
    """Every rung that the mechanisms make together on top of ``rungs``, those themselves first."""
    for name in ORDER:
        if name in mechanisms:
            mechanism = Mechanism.registry[name]
            rungs = tuple(v for rung in rungs for v in mechanism.variants(rung, facts))
    return rungs
