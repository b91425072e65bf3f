"""Progressive compression on the live pipeline (US 2025/0265465 A1, FIG. 5; claims 2 and 6).

The pipeline is already distributed (step 510), its fringe layers known (515) and all others
frozen (520). From there:

    525  compress one step at the connection where the next step helps most
    530  execute the live pipeline, measure accuracy, latency and bytes
    540  until the target is met; a step that breaks the accuracy floor is rolled back

The ladders foretell what a step gains and loses, so that no connection spends the accuracy that
another could have used better; where single steps are exhausted, one connection gives back what
another gains more from. But every step that is kept was measured on the live pipeline, on the
validation split alone ([0039], claim 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from controller.fringe.targets import FringeTargets
from controller.ladder.ladder import Ladder
from controller.live.pipeline import Observation, Pipeline, Rungs
from controller.loop.descent import Candidate, Descent, Forecast
from stage_node.records.events import Emit, Iteration, LoopEnded

ROUNDING = 1e-9
"""Shares of whole images are compared; a floor is not broken by the last bit of a float."""


@dataclass(frozen=True)
class Goal:
    """The targets in absolute numbers, once the uncompressed pipeline has been measured."""

    accuracy_floor: float
    byte_budget: float | None
    max_latency_ms: float | None

    @classmethod
    def of(cls, targets: FringeTargets, baseline: Observation) -> "Goal":
        """Raises ``BadTargetsError`` where the uncompressed model is below the floor."""
        return cls(
            accuracy_floor=targets.accuracy_floor(baseline.accuracy),
            byte_budget=targets.byte_budget(baseline.size_bytes),
            max_latency_ms=targets.max_latency_ms,
        )

    def allows(self, seen: Observation) -> bool:
        """Return True if the accuracy floor holds."""
        return seen.accuracy >= self.accuracy_floor - ROUNDING

    def excess(self, seen: Observation) -> tuple[float, float]:
        """Bytes per inference and milliseconds that are still too many."""
        size_bytes = 0.0 if self.byte_budget is None else seen.size_bytes - self.byte_budget
        ms = 0.0 if self.max_latency_ms is None else seen.latency_ms_median - self.max_latency_ms
        return max(0.0, size_bytes), max(0.0, ms)

    def missing(self, seen: Observation) -> tuple[str, ...]:
        """Word the targets that are not reached yet."""
        gaps = []
        if self.byte_budget is not None and seen.size_bytes > self.byte_budget + ROUNDING:
            gaps.append(f"{seen.size_bytes:.1f} of {self.byte_budget:.1f} bytes per inference")
        if self.max_latency_ms is not None and seen.latency_ms_median > self.max_latency_ms:
            gaps.append(f"{seen.latency_ms_median:.2f} of {self.max_latency_ms:.2f} ms latency")
        return tuple(gaps)


@dataclass(frozen=True)
class Outcome:
    """Outcome of the loop: the pipeline now serves under ``best``."""

    reached: bool
    reason: str
    baseline: Observation
    best: Observation


def optimize(
    pipeline: Pipeline,
    ladders: Sequence[Ladder],
    targets: FringeTargets,
    emit: Emit,
    batch: int,
) -> Outcome:
    """Run the loop until the target is met or nothing is left to try.

    ``batch`` images share a frame, and so its latency. Emits an ``Iteration`` event per
    measurement and one ``LoopEnded``. Raises ``BadTargetsError``, before anything is compressed,
    where the uncompressed model itself is below the floor. Afterwards the pipeline serves under
    the last good generation.
    """
    record = _History(emit)
    descent = Descent(tuple(ladders), targets.step_ratio)
    baseline = best = pipeline.observe(_rungs(ladders, descent.good), "validation")
    goal = Goal.of(targets, baseline)
    missing = goal.missing(best)
    record.iteration(None, baseline, "baseline", _still(missing))
    while missing:
        choice = descent.next_choice(_forecast(goal, baseline, best, batch))
        if choice is None:
            reason = _not_reached(missing, descent, goal, best)
            return record.ended(Outcome(False, reason, baseline, best))
        seen = pipeline.observe(_rungs(ladders, choice.rungs), "validation")
        what = _in_words(choice, ladders, best)
        if not goal.allows(seen):
            pipeline.resume(best.generation)
            descent.rolled_back(choice)
            reason = f"accuracy {seen.accuracy:.4f} is below the floor {goal.accuracy_floor:.4f}"
            record.iteration(choice.cut, seen, "rolled back", f"{what}: {reason}")
            continue
        descent.kept(choice)
        best, missing = seen, goal.missing(seen)
        outcome = "kept" if missing else "target met"
        record.iteration(choice.cut, seen, outcome, f"{what}: {_still(missing)}")
    return record.ended(Outcome(True, f"target met with {_figures(best)}", baseline, best))


def _rungs(ladders: Sequence[Ladder], indices: Sequence[int]) -> Rungs:
    return tuple(ladder.rungs[i].rung for ladder, i in zip(ladders, indices, strict=True))


def _forecast(goal: Goal, baseline: Observation, best: Observation, batch: int) -> Forecast:
    """Time per byte on each connection, ms, from the measurements."""
    excess_bytes, excess_ms = goal.excess(best)
    return Forecast(
        excess_bytes=excess_bytes,
        excess_ms=excess_ms,
        ms_per_byte=tuple(c.transfer_ms * batch / c.size_bytes for c in best.connections),
        accuracy_to_lose=baseline.accuracy - goal.accuracy_floor,
        one_image=1 / baseline.samples,
    )


class _History:
    """Numbers the iterations and words the events."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._index = 0

    def iteration(self, cut: int | None, seen: Observation, outcome: str, reason: str) -> None:
        self._emit(
            Iteration(
                index=self._index,
                cut=cut,
                generation=seen.generation,
                rungs=seen.names,
                accuracy=seen.accuracy,
                samples=seen.samples,
                latency_ms_median=seen.latency_ms_median,
                bytes_per_inference=tuple(c.size_bytes for c in seen.connections),
                outcome=outcome,
                reason=reason,
            )
        )
        self._index += 1

    def ended(self, outcome: Outcome) -> Outcome:
        self._emit(
            LoopEnded(
                reached=outcome.reached,
                generation=outcome.best.generation,
                rungs=outcome.best.names,
                reason=outcome.reason,
            )
        )
        return outcome


def _in_words(choice: Candidate, ladders: Sequence[Ladder], best: Observation) -> str:
    if choice.cut is None:
        names = (ladder.rungs[i].name for ladder, i in zip(ladders, choice.rungs, strict=True))
        return "cuts trade accuracy: " + "; ".join(f"cut {i} to {n}" for i, n in enumerate(names))
    name = ladders[choice.cut].rungs[choice.rungs[choice.cut]].name
    transfer_ms = best.connections[choice.cut].transfer_ms
    return f"cut {choice.cut}, at {transfer_ms:.2f} ms per inference, to {name}"


def _still(missing: Sequence[str]) -> str:
    return f"still at {' and '.join(missing)}" if missing else "nothing left to reach"


def _figures(seen: Observation) -> str:
    return (
        f"{seen.size_bytes:.1f} bytes per inference, {seen.latency_ms_median:.2f} ms, "
        f"accuracy {seen.accuracy:.4f} on {seen.samples} {seen.split} images"
    )


def _not_reached(missing: Sequence[str], descent: Descent, goal: Goal, best: Observation) -> str:
    limits = []
    for cut, (ladder, good) in enumerate(zip(descent.ladders, descent.good, strict=True)):
        name = ladder.rungs[good].name
        if good == ladder.strongest:
            limits.append(f"cut {cut} at its strongest ({name})")
        else:
            limits.append(
                f"cut {cut} at {name}, for {ladder.rungs[good + 1].name} breaks the floor "
                f"{goal.accuracy_floor:.4f}"
            )
    return (
        f"not reached, closest was {_figures(best)}: {_still(missing)}; "
        f"nothing left to compress: {', '.join(limits)}"
    )
