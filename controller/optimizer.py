"""Progressive compression on the live pipeline (US 2025/0265465 A1, FIG. 5; claims 2 and 6).

The pipeline is already distributed (step 510), its fringe layers known (515) and all others
frozen (520). From there:

    525  compress one step at the connection that costs most
    530  execute the live pipeline, measure accuracy, latency and bytes
    540  until the target is met; a step that breaks the accuracy floor is rolled back, and its
         connection is tried in smaller steps until none is left; the others go on

Accuracy is judged on the validation split alone ([0039], claim 6).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from controller.ladder import Ladder
from controller.pipeline import Observation, Pipeline, Widths
from controller.targets import FringeTargets
from stage_node.events import Iteration, LoopEnded

Emit = Callable[..., None]
"""``EventLog.emit``: an event type and its fields."""

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
        """Whether the accuracy floor holds."""
        return seen.accuracy >= self.accuracy_floor - ROUNDING

    def excess_bytes(self, seen: Observation) -> float:
        """Bytes per inference still above the budget."""
        return 0.0 if self.byte_budget is None else max(0.0, seen.size_bytes - self.byte_budget)

    def missing(self, seen: Observation) -> tuple[str, ...]:
        """What is not reached yet, in words."""
        gaps = []
        if self.byte_budget is not None and seen.size_bytes > self.byte_budget + ROUNDING:
            gaps.append(f"{seen.size_bytes:.1f} of {self.byte_budget:.1f} bytes per inference")
        if self.max_latency_ms is not None and seen.latency_ms_median > self.max_latency_ms:
            gaps.append(f"{seen.latency_ms_median:.2f} of {self.max_latency_ms:.2f} ms latency")
        return tuple(gaps)


@dataclass(frozen=True)
class Descent:
    """Where every cut stands on its ladder.

    ``good`` is the rung kept, ``broken`` the weakest rung known to break the accuracy floor.
    """

    ladders: tuple[Ladder, ...]
    good: tuple[int, ...]
    broken: tuple[int | None, ...]

    @classmethod
    def start(cls, ladders: Sequence[Ladder]) -> "Descent":
        """Every cut uncompressed, nothing known."""
        return cls(tuple(ladders), (0,) * len(ladders), (None,) * len(ladders))

    @property
    def widths(self) -> Widths:
        """The rungs kept, as the widths of a generation."""
        return self.widths_with()

    def widths_with(self, step: "Step | None" = None) -> Widths:
        """The rungs kept, but for the one cut that ``step`` moves."""
        rungs = list(self.good)
        if step is not None:
            rungs[step.cut] = step.rung
        return tuple(
            ladder.rungs[rung].width for ladder, rung in zip(self.ladders, rungs, strict=True)
        )

    def kept(self, step: "Step") -> "Descent":
        """After a step that the floor allows."""
        good = list(self.good)
        good[step.cut] = step.rung
        return replace(self, good=tuple(good))

    def rolled_back(self, step: "Step") -> "Descent":
        """After a step that broke the floor."""
        broken = list(self.broken)
        broken[step.cut] = step.rung
        return replace(self, broken=tuple(broken))


@dataclass(frozen=True)
class Step:
    """Move one cut to one rung of its ladder."""

    cut: int
    rung: int


@dataclass(frozen=True)
class Outcome:
    """How the loop ended: the pipeline now serves under ``best``."""

    reached: bool
    reason: str
    baseline: Observation
    best: Observation


def next_step(
    descent: Descent, seen: Observation, excess_bytes: float, ratio: float
) -> Step | None:
    """One step at the connection that costs most, of those that can still go down (step 525).

    A connection's cost is its measured transfer time per inference, that is bytes over rate, as
    the receiving stage saw it (claim 3: "based on performance of the computer network"); bytes
    decide between equals. A
    step is never stronger than the ``excess_bytes`` call for.
    """

    def cost(step: Step) -> tuple[float, float]:
        connection = seen.connections[step.cut]
        return connection.transfer_ms, connection.size_bytes

    steps = []
    for cut, ladder in enumerate(descent.ladders):
        good, broken = descent.good[cut], descent.broken[cut]
        rung = ladder.step_down(good, broken, ratio)
        if rung is not None and excess_bytes > 0:
            enough = ladder.weakest_within(ladder.rungs[good].payload_bytes - excess_bytes)
            rung = rung if enough is None else min(rung, enough)
        if rung is not None:
            steps.append(Step(cut, rung))
    return max(steps, key=cost, default=None)


def optimize(
    pipeline: Pipeline, ladders: Sequence[Ladder], targets: FringeTargets, emit: Emit
) -> Outcome:
    """Run the loop until the target is met or no connection can go on.

    Emits an ``Iteration`` event per measurement and one ``LoopEnded``. Raises
    ``BadTargetsError``, before anything is compressed, where the uncompressed model itself is
    below the floor. Afterwards the pipeline serves under the last good generation.
    """
    record = _Record(emit)
    descent = Descent.start(ladders)
    baseline = best = pipeline.observe(descent.widths, "validation")
    goal = Goal.of(targets, baseline)
    missing = goal.missing(best)
    record.iteration(None, baseline, "baseline", _still(missing))
    while missing:
        step = next_step(descent, best, goal.excess_bytes(best), targets.step_ratio)
        if step is None:
            reason = _not_reached(missing, descent, goal, best)
            return record.ended(Outcome(False, reason, baseline, best))
        seen = pipeline.observe(descent.widths_with(step), "validation")
        name = (
            f"cut {step.cut}, at {best.connections[step.cut].transfer_ms:.2f} ms per inference, "
            f"to {ladders[step.cut].rungs[step.rung].name}"
        )
        if not goal.allows(seen):
            pipeline.resume(best.generation)
            descent = descent.rolled_back(step)
            reason = f"accuracy {seen.accuracy:.4f} is below the floor {goal.accuracy_floor:.4f}"
            record.iteration(step.cut, seen, "rolled back", f"{name}: {reason}")
            continue
        descent, best, missing = descent.kept(step), seen, goal.missing(seen)
        outcome = "kept" if missing else "target met"
        record.iteration(step.cut, seen, outcome, f"{name}: {_still(missing)}")
    return record.ended(Outcome(True, f"target met with {_figures(best)}", baseline, best))


class _Record:
    """Numbers the iterations and words the events."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._index = 0

    def iteration(self, cut: int | None, seen: Observation, outcome: str, reason: str) -> None:
        self._emit(
            Iteration,
            index=self._index,
            cut=cut,
            generation=seen.generation,
            widths=seen.widths,
            accuracy=seen.accuracy,
            samples=seen.samples,
            latency_ms_median=seen.latency_ms_median,
            bytes_per_inference=tuple(c.size_bytes for c in seen.connections),
            outcome=outcome,
            reason=reason,
        )
        self._index += 1

    def ended(self, outcome: Outcome) -> Outcome:
        self._emit(
            LoopEnded,
            reached=outcome.reached,
            generation=outcome.best.generation,
            widths=outcome.best.widths,
            reason=outcome.reason,
        )
        return outcome


def _still(missing: Sequence[str]) -> str:
    return f"still at {' and '.join(missing)}" if missing else "nothing left to reach"


def _figures(seen: Observation) -> str:
    return (
        f"{seen.size_bytes:.1f} bytes per inference, {seen.latency_ms_median:.2f} ms, "
        f"accuracy {seen.accuracy:.4f} on {seen.samples} {seen.split} images"
    )


def _not_reached(missing: Sequence[str], descent: Descent, goal: Goal, best: Observation) -> str:
    limits = [
        f"cut {cut} at its strongest ({ladder.rungs[good].name})"
        if broken is None
        else f"cut {cut} at {ladder.rungs[good].name}, for {ladder.rungs[broken].name} "
        f"broke the floor {goal.accuracy_floor:.4f}"
        for cut, (ladder, good, broken) in enumerate(
            zip(descent.ladders, descent.good, descent.broken, strict=True)
        )
    ]
    return (
        f"not reached, closest was {_figures(best)}: {_still(missing)}; "
        f"nothing left to compress: {', '.join(limits)}"
    )
