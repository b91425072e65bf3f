"""The workload: images of a data set enter the pipeline, predictions come back and are scored.

A fixed window of frames is in flight. The source stamps each with the pipeline's current
generation, the one number by which every stage picks its halves of the cuts.
"""

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from stage_node.data import Dataset, Split, SplitName
from stage_node.errors import RefusedError, StageNodeError, WireError
from stage_node.fringe.latency import end_to_end_ns
from stage_node.fringe.messages import Activated, RecentReply, ResultsReply
from stage_node.records.ledger import Rows

RECENT_FRAMES = 1000
"""Latencies kept for requests, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class AdmittedFrame:
    """A batch on its way through the pipeline."""

    sequence: int
    generation: int
    images: Tensor
    labels: Tensor
    t_admitted_ns: int


class Activation:
    """Cycles over a split under one generation, and what came back of it.

    Batches never straddle the end of the split: every cycle shows each image once.
    """

    def __init__(
        self, generation: int, split: Split, first_sequence: int, position: int = 0
    ) -> None:
        self.generation = generation
        self.first_sequence = first_sequence
        self.position = position
        self.split = split
        self._images_until = [0]  # images in the first i results
        self._correct: list[int] = []
        self._times_ns: list[tuple[int, int]] = []

    def next_batch(self, size: int) -> tuple[Tensor, Tensor]:
        """Images and labels of up to ``size`` images."""
        batch = slice(self.position, self.position + size)
        self.position = batch.stop if batch.stop < len(self.split) else 0
        return self.split.images[batch], self.split.labels[batch]

    def add(self, samples: int, correct: int, t_admitted_ns: int, t_result_ns: int) -> None:
        """One more result, in the order of admission."""
        self._correct.append(correct)
        self._times_ns.append((t_admitted_ns, t_result_ns))
        self._images_until.append(self._images_until[-1] + samples)

    def has(self, count: int, skip: int) -> bool:
        """Return True if ``count`` images are there after the first ``skip`` results."""
        until = self._images_until
        return len(until) > skip and until[-1] - until[skip] >= count

    def summary(self, count: int, skip: int) -> ResultsReply:
        """The fewest consecutive results after ``skip`` that make ``count`` images."""
        until = self._images_until
        end = bisect_left(until, until[skip] + count)
        times_ns = np.array(self._times_ns[skip:end])
        latency_ms = end_to_end_ns(times_ns[:, 0], times_ns[:, 1]) / 1e6
        return ResultsReply(
            frames=end - skip,
            samples=until[end] - until[skip],
            correct=sum(self._correct[skip:end]),
            latency_ms_median=float(np.median(latency_ms)),
            latency_ms_p95=float(np.percentile(latency_ms, 95)),
            t_first_admitted_ns=int(times_ns[0, 0]),
            t_last_admitted_ns=int(times_ns[-1, 0]),
            t_last_result_ns=int(times_ns[-1, 1]),
        )


class Source:
    """Admits batches (one thread) and scores their results (another); a third one asks."""

    def __init__(self, dataset: Dataset, window: int, batch: int, rows: Rows) -> None:
        self._dataset = dataset
        self._window = window
        self._batch = batch
        self._rows = rows
        lock = threading.Lock()
        self._room = threading.Condition(lock)
        self._news = threading.Condition(lock)
        self._in_flight: deque[AdmittedFrame] = deque()
        self._activation: Activation | None = None
        self._admitting = False
        self._stopped = False
        self._error: StageNodeError | None = None
        self._sequence = 0
        self._frame_ns = 0
        self._next_due_ns = 0
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT_FRAMES)

    def activate(
        self, generation: int, split_name: SplitName, frame_ms: float = 0.0, go_on: bool = False
    ) -> Activated:
        """Admit batches of a split under ``generation`` from now on, from image 0 or where the
        last ended in the same split, one every ``frame_ms`` at most."""
        split = self._dataset.split(split_name)  # read, if need be, while the old one flows
        with self._room:
            before = self._activation
            position = before.position if go_on and before and before.split is split else 0
            self._activation = Activation(generation, split, self._sequence, position)
            if self._frame_ns != round(frame_ms * 1e6):
                self._frame_ns = round(frame_ms * 1e6)
                self._next_due_ns = time.monotonic_ns()
            self._admitting = True
            self._room.notify()
            return Activated(t_ns=time.monotonic_ns(), first_sequence=self._sequence)

    def admit(self) -> AdmittedFrame | None:
        """The next batch, as soon as the window has room; ``None`` once the source was stopped."""
        with self._room:
            while not self._stopped and (left_s := self._admission_in_s()) != 0:
                self._room.wait(left_s)
            if self._stopped or not self._activation:
                return None
            images, labels = self._activation.next_batch(self._batch)
            now = time.monotonic_ns()
            if self._frame_ns:  # slots that passed while the window was full are left out
                self._next_due_ns += self._frame_ns * (
                    1 + (now - self._next_due_ns) // self._frame_ns
                )
            batch = AdmittedFrame(self._sequence, self._activation.generation, images, labels, now)
            self._sequence += 1
            self._in_flight.append(batch)
            return batch

    def score(self, sequence: int, generation: int, predictions: Tensor) -> None:
        """Account for one result; ``WireError`` if it is not that of the oldest batch in flight."""
        t_result_ns = time.monotonic_ns()
        with self._news:
            oldest = self._in_flight[0] if self._in_flight else None
            if oldest is None or (sequence, generation) != (oldest.sequence, oldest.generation):
                awaited = f"frame {oldest.sequence} of {oldest.generation}" if oldest else "nothing"
                raise WireError(
                    f"result of frame {sequence} of generation {generation}, awaited: {awaited}"
                )
            samples = len(oldest.labels)
            if len(predictions) != samples:
                raise WireError(f"{len(predictions)} predictions for {samples} images")
            correct = int((predictions == oldest.labels).sum())
            self._in_flight.popleft()
            latency_ns = end_to_end_ns(oldest.t_admitted_ns, t_result_ns)
            self._recent.append((generation, latency_ns / 1e6))
            if self._activation and sequence >= self._activation.first_sequence:
                self._activation.add(samples, correct, oldest.t_admitted_ns, t_result_ns)
            self._news.notify()
            self._room.notify()
        self._rows.append(sequence, generation, samples, correct, oldest.t_admitted_ns, t_result_ns)

    def results(self, generation: int, count: int, skip: int) -> ResultsReply:
        """Wait for ``count`` images' results after the first ``skip`` batches since ``activate``.

        ``RefusedError`` when they cannot come.
        """
        with self._news:
            activation = self._activation
            if activation is None or generation != activation.generation:
                raise RefusedError(f"generation {generation} is not active")
            self._await(lambda: activation.has(count, skip) or self._drained())
            if not activation.has(count, skip):
                raise RefusedError(f"drained before {count} images were through")
            return activation.summary(count, skip)

    def recent(self) -> RecentReply:
        """The results since the last call; ``RefusedError`` where no more can come."""
        with self._news:
            if self._error:
                raise RefusedError(f"the pipeline failed: {self._error}")
            frames = tuple(self._recent)
            self._recent.clear()
            waiting = None
            if self._in_flight:
                oldest = self._in_flight[0]
                age_ms = (time.monotonic_ns() - oldest.t_admitted_ns) / 1e6
                waiting = (oldest.generation, age_ms)
            return RecentReply(frames=frames, waiting=waiting)

    def drain(self) -> None:
        """Admit nothing more and wait until nothing is in flight; ``activate`` resumes."""
        with self._news:
            self._admitting = False
            self._await(self._drained)

    def stop(self) -> None:
        """Admit nothing more, ever."""
        with self._room:
            self._admitting = False
            self._stopped = True
            self._room.notify()

    def fail(self, error: StageNodeError) -> None:
        """The pipeline is broken: every waiting thread gets the reason."""
        with self._news:
            self._error = error
            self._news.notify()

    def _admission_in_s(self) -> float | None:
        """Time until the next frame may enter, s; None: not before it is notified."""
        if not self._admitting or len(self._in_flight) >= self._window:
            return None
        return max(0.0, (self._next_due_ns - time.monotonic_ns()) / 1e9)

    def _drained(self) -> bool:
        return not self._admitting and not self._in_flight

    def _await(self, condition: Callable[[], bool]) -> None:
        self._news.wait_for(lambda: self._error is not None or condition())
        if self._error:
            raise RefusedError(f"the pipeline failed: {self._error}")
