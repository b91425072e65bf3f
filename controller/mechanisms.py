"""The mechanisms of compression (US 2025/0265465 A1, [0038] to [0042]; claim 11), composable.

Each offers variants of a rung: the same rung with its own setting on top. Applied one after the
other they give every combination, of which the ladder keeps what is worth keeping.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from stage_node.rung import QUANTISED, UNCOMPRESSED, Bits, Rung

MechanismName = Literal["width", "distill", "sparse", "quantise", "zstd"]


@dataclass(frozen=True)
class CutFacts:
    """What mechanisms know about a cut: the channels of its activation, the modules trained for
    it with the bits of their codes, and whether every single width is worth a rung."""

    channels: int
    modules: tuple[tuple[str, Bits], ...] = ()
    every_width: bool = False


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


class Width(Mechanism):
    """Structured pruning: fewer channels cross, those of the largest variance."""

    name = "width"

    def settings(self, rung: Rung, facts: CutFacts) -> Iterable[dict[str, Any]]:
        """Every narrower width, or those a factor of the square root of two apart."""
        widths: Iterable[int] = range(facts.channels - 1, 0, -1)
        if not facts.every_width:
            halvings = (round(facts.channels / 2 ** (step / 2)) for step in range(1, 40))
            widths = sorted({width for width in halvings if width >= 1}, reverse=True)
        return ({"width": width} for width in widths if rung.module is None)


class Distill(Mechanism):
    """Knowledge distillation: a trained bottleneck takes the place of the basis (claim 7)."""

    name = "distill"

    def settings(self, rung: Rung, facts: CutFacts) -> Iterable[dict[str, Any]]:
        """Every module that was trained for the cut, at its own number of bits."""
        return (
            {"module": module, "bits": bits} for module, bits in facts.modules if rung.width is None
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


ORDER: tuple[MechanismName, ...] = ("width", "distill", "sparse", "quantise", "zstd")
"""In which mechanisms are applied to an activation, whatever the order they were named in."""


def combinations(mechanisms: Sequence[MechanismName], facts: CutFacts) -> tuple[Rung, ...]:
    """Every rung that the mechanisms make together, the uncompressed cut first."""
    rungs: tuple[Rung, ...] = (UNCOMPRESSED,)
    for name in ORDER:
        if name in mechanisms:
            mechanism = Mechanism.registry[name]
            rungs = tuple(v for rung in rungs for v in mechanism.variants(rung, facts))
    return rungs
