"""Shows a run while it works: follows the event log and draws it with rich."""

import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
)
from rich.progress import TimeElapsedColumn as Elapsed

from stage_node.records.configuration import configuration_name
from stage_node.records.events import (
    Admitted,
    ConfigurationEvaluated,
    Event,
    EventFollower,
    Iteration,
    LinkCommanded,
    LoopEnded,
    Measurement,
    Message,
    ModelRequested,
    Phase,
    RungChosen,
    StepRefused,
)
from stage_node.records.events import Progress as ProgressEvent
from stage_node.records.vocabulary import ClockKind
from topologies.machine.background import Background

POLL_INTERVAL_S = 0.2


def describe(event: Event) -> str | None:
    """One line for a person, or nothing for events that only move a bar."""
    match event:
        case Message(text=text):
            return text
        case LinkCommanded(said=said, refusal=refusal):
            return f"link {said}: {'done' if refusal is None else f'refused, {refusal}'}"
        case ModelRequested() as request:
            wish = [
                f"accuracy {100 * request.accuracy:g} %" if request.accuracy is not None else "",
                f"within {request.deadline_ms:g} ms" if request.deadline_ms is not None else "",
                f"from byte {request.first_byte:,}" if request.first_byte else "",
            ]
            return f"{request.who} asks for {request.model} " + ", ".join(filter(None, wish))
        case Admitted() as answer:
            return (
                f"server sends bytes {answer.first_byte:,} to {answer.end_byte:,}: "
                f"configuration {configuration_name(answer.configuration)} ({answer.reason})"
            )
        case StepRefused() as refusal:
            status = f" ({refusal.status})" if refusal.status else ""
            return f"{refusal.who} is refused{status}: {refusal.reason}"
        case ConfigurationEvaluated() as ran:
            name = configuration_name(ran.configuration)
            return f"{ran.who} runs {name}: accuracy {ran.accuracy:.1%}"
    told = _of_pipeline(event)
    return whose(event, told) if told else None


def whose(event: Event, words: str) -> str:
    """Words about a pipeline, begun by its name where it is one of several."""
    name = event.who.partition("controller-")[2]
    return f"{name}: {words}" if name else words


def _of_pipeline(event: Event) -> str | None:
    """Line for an event of a pipeline's controller."""
    match event:
        case Iteration() as it:
            rungs = " | ".join(it.rungs)
            sent = " + ".join(f"{size:,.0f}" for size in it.bytes_per_inference)
            return (
                f"iteration {it.index}: {rungs}; {sent} B per inference, "
                f"accuracy {it.accuracy:.1%}, {it.latency_ms_median:.1f} ms: {it.outcome}"
            )
        case RungChosen() as chosen:
            return f"automatic control: {' | '.join(chosen.rungs)}; {chosen.reason}"
        case LoopEnded(reason=reason):
            return f"loop ended: {reason}"
        case Measurement() as m:
            return (
                f"{m.label} compression: accuracy {m.accuracy:.1%} on {m.samples} {m.split} images"
            )
        case _:
            return None


class PassedTime:
    """Virtual and real time that have passed since this was made."""

    def __init__(self) -> None:
        self._begun_s = time.monotonic()
        self._virtual_s = 0.0

    def see(self, events: Iterable[Event]) -> None:
        """Learn from events how far the virtual clock, which begins at 0, has come."""
        self._virtual_s = max([self._virtual_s, *(event.t_ns / 1e9 for event in events)])

    def __str__(self) -> str:
        real_s = max(time.monotonic() - self._begun_s, 1e-3)
        ratio = self._virtual_s / real_s
        return f"{self._virtual_s:.1f} s virtual in {real_s:.1f} s, {ratio:.1f} times real time"


class RunDisplay(Background):
    """Draws phases and bars from the event log until left; a context manager.

    On the virtual clock it also shows how far that has come, and how fast.
    """

    def __init__(self, events: Path, console: Console, clock: ClockKind = "real") -> None:
        super().__init__("display")
        self._follower = EventFollower(events)
        self._console = console
        self._passed = PassedTime() if clock == "virtual" else None
        columns: list[ProgressColumn] = [
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            Elapsed(),
        ]
        if self._passed:
            columns.append(TextColumn("{task.fields[passed]}"))
        self._bars = Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._bars.stop()
            if self._passed and error is None:
                self._console.print(f"  {self._passed}", highlight=False)

    def _work(self) -> None:
        while not self._ended.wait(POLL_INTERVAL_S):
            self._show(self._follower.fresh())
        self._show(self._follower.fresh())

    def _show(self, events: list[Event]) -> None:
        for event in events:
            self._draw(event)
        if self._passed:
            self._passed.see(events)
            for task in self._tasks.values():
                self._bars.update(TaskID(task), passed=str(self._passed))

    def _draw(self, event: Event) -> None:
        match event:
            case Phase(phase=phase, state="begin"):
                self._task(phase, total=None)
            case Phase(phase=phase, state="end"):
                self._end(phase)
            case ProgressEvent() as step:
                name = whose(step, step.task)
                self._task(name, total=step.total)
                self._bars.update(self._tasks[name], completed=step.done)  # type: ignore[arg-type]
                if step.done >= step.total:
                    self._end(name)
            case _:
                line = describe(event)
                if line:
                    self._console.print(f"  {line}", highlight=False, markup=False)

    def _task(self, name: str, total: int | None) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, passed="")

    def _end(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            self._bars.remove_task(task)  # type: ignore[arg-type]
