"""Bandwidth reduction (Eq. 1) and latency reduction (Eq. 2), by connection and global.

US 2025/0265465 A1, [0043]; connection-based and global figures: [0053]. W and P are a
connection's bytes per inference on the wire (sender's capture), T and L the median time of a frame
on it, from first byte out to last byte delivered.
"""

from collections.abc import Callable, Sequence

from analysis.summary.traffic import CutTraffic, Reduction, Reductions
from stage_node.fringe.reductions import bandwidth_reduction, latency_reduction

Values = Sequence[float | None]


def bandwidth_reductions(before_bytes: Values, after_bytes: Values, cuts: int) -> Reductions | None:
    """Eq. 1 from the bytes per inference of each cut; None unless every cut was measured twice."""
    return _reductions(before_bytes, after_bytes, cuts, bandwidth_reduction)


def latency_reductions(before_ms: Values, after_ms: Values, cuts: int) -> Reductions | None:
    """Eq. 2 from the transfer time of each cut, ms; None unless every cut was measured twice."""
    return _reductions(before_ms, after_ms, cuts, latency_reduction)


def connection_bytes(cuts: Sequence[CutTraffic]) -> list[float]:
    """W (or P) of Eq. 1 of each cut, bytes per inference."""
    return [cut.wire_bytes for cut in cuts]


def connection_ms(cuts: Sequence[CutTraffic]) -> list[float | None]:
    """T (or L) of Eq. 2 of each cut, ms; None if no frame was seen at both ends."""
    return [cut.transfer.median_ms if cut.transfer else None for cut in cuts]


def _reductions(
    before: Values,
    after: Values,
    cuts: int,
    equation: Callable[[Sequence[float], Sequence[float]], float],
) -> Reductions | None:
    known_before = [value for value in before if value is not None]
    known_after = [value for value in after if value is not None]
    if not cuts or {len(known_before), len(known_after)} != {cuts}:
        return None

    def over(whole: Sequence[float], left: Sequence[float]) -> Reduction:
        """The equation over some of the connections."""
        reduction, total = equation(whole, left), sum(whole)
        share = reduction / total if total else None
        return Reduction(before=total, after=sum(left), reduction=reduction, share=share)

    return Reductions(
        connections=tuple(over([w], [p]) for w, p in zip(known_before, known_after, strict=True)),
        total=over(known_before, known_after),
    )
