"""The workload: every image once per cycle, a bounded number of frames in flight."""

import threading
import time
from pathlib import Path

import pytest
import torch

from stage_node.data import Dataset, Split
from stage_node.errors import RefusedError, WireError
from stage_node.fringe.source import AdmittedFrame, Source
from stage_node.records.ledger import Ledger


def splits(name: str) -> Split:
    """Image i of the split is the number i, its label i modulo 3."""
    size = {"train": 0, "validation": 10, "test": 7}[name]
    numbers = torch.arange(size)
    return Split(numbers.float().view(-1, 1, 1, 1), numbers % 3)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    dataset = Dataset("numbers", ("a", "b", "c"), (1, 1, 1), splits)
    source = Source(dataset, window=3, batch=4, rows=Ledger("ue", tmp_path).results)
    source.activate(0, "validation")
    return source


def admitted(source: Source) -> AdmittedFrame:
    batch = source.admit()
    assert batch is not None
    return batch


def answer(source: Source, batch: AdmittedFrame, wrong: int = 0) -> None:
    predictions = batch.labels.clone()
    predictions[:wrong] += 1
    source.score(batch.sequence, batch.generation, predictions)


def serve(source: Source, frames: int, wrong: int = 0) -> list[AdmittedFrame]:
    batches = []
    for _ in range(frames):
        batches.append(admitted(source))
        answer(source, batches[-1], wrong)
    return batches


def test_a_cycle_shows_every_image_once_then_begins_again(source: Source) -> None:
    numbers = [batch.images.flatten().int().tolist() for batch in serve(source, 6)]
    cycle = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert numbers == cycle * 2


def test_the_window_bounds_what_is_in_flight(source: Source) -> None:
    first = [admitted(source) for _ in range(3)]
    more: list[AdmittedFrame] = []
    thread = threading.Thread(target=lambda: more.append(admitted(source)))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive() and not more
    answer(source, first[0])
    thread.join(5)
    assert more[0].sequence == 3


def test_activation_begins_again_at_image_zero_of_the_split(source: Source) -> None:
    serve(source, 2)
    activated = source.activate(5, "test")
    batches = serve(source, 2)
    assert activated.first_sequence == batches[0].sequence == 2
    assert activated.t_ns <= batches[0].t_admitted_ns
    assert [batch.generation for batch in batches] == [5, 5]
    assert batches[0].images.flatten().tolist() == [0, 1, 2, 3]
    assert batches[1].images.flatten().tolist() == [4, 5, 6]


def test_results_count_whole_cycles_exactly_whatever_was_skipped(source: Source) -> None:
    serve(source, 4, wrong=1)
    serve(source, 4, wrong=0)
    for skip in (0, 1, 2):
        reply = source.results(0, 10, skip)
        assert (reply.frames, reply.samples) == (3, 10)
    assert source.results(0, 10, 1).correct == 7
    assert source.results(0, 10, 5).correct == 10
    assert source.results(0, 11, 0).samples == 14, "frames are not divided"


def test_results_of_an_earlier_activation_do_not_count(source: Source) -> None:
    in_flight = admitted(source)
    source.activate(1, "test")
    answer(source, in_flight, wrong=4)
    serve(source, 2)
    reply = source.results(1, 7, 0)
    assert (reply.samples, reply.correct) == (7, 7)


def test_latency_runs_from_admission_to_result(source: Source) -> None:
    serve(source, 20)
    reply = source.results(0, 50, 0)
    assert 0 < reply.latency_ms_median <= reply.latency_ms_p95
    assert reply.t_first_admitted_ns < reply.t_last_admitted_ns < reply.t_last_result_ns


@pytest.mark.parametrize(
    ("sequence", "generation"), [(1, 0), (0, 1)], ids=["reordered", "mixed up"]
)
def test_a_result_out_of_place_is_an_error(source: Source, sequence: int, generation: int) -> None:
    labels = admitted(source).labels
    with pytest.raises(WireError, match="awaited: frame 0 of 0"):
        source.score(sequence, generation, labels)


def test_a_repeated_result_is_an_error(source: Source) -> None:
    batch = admitted(source)
    answer(source, batch)
    with pytest.raises(WireError, match="awaited: nothing"):
        answer(source, batch)


def test_a_result_for_too_few_images_is_an_error(source: Source) -> None:
    batch = admitted(source)
    with pytest.raises(WireError, match="3 predictions for 4 images"):
        source.score(batch.sequence, batch.generation, batch.labels[:3])


def test_draining_waits_for_the_last_result_and_activation_resumes(source: Source) -> None:
    batch = admitted(source)
    thread = threading.Thread(target=source.drain)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    answer(source, batch)
    thread.join(5)
    assert not thread.is_alive()
    assert source.results(0, 4, 0).samples == 4, "what came back still counts"
    with pytest.raises(RefusedError, match="drained before"):
        source.results(0, 5, 0)
    source.activate(1, "test")
    assert serve(source, 1)[0].generation == 1


def test_results_of_a_generation_that_is_not_active_are_refused(source: Source) -> None:
    with pytest.raises(RefusedError, match="generation 4 is not active"):
        source.results(4, 1, 0)


def test_whoever_waits_learns_of_a_failure(source: Source) -> None:
    threading.Timer(0.05, source.fail, [WireError("edge is gone")]).start()
    with pytest.raises(RefusedError, match="edge is gone"):
        source.results(0, 1, 0)


def test_a_stopped_source_ends_its_admission(source: Source) -> None:
    for _ in range(3):
        admitted(source)
    threading.Timer(0.05, source.stop).start()
    assert source.admit() is None


def test_a_paced_workload_admits_in_its_rhythm_and_leaves_out_what_the_window_refused(
    source: Source,
) -> None:
    period_ns = 30_000_000
    source.activate(1, "test", frame_ms=30)
    in_rhythm = serve(source, 6)
    # The first may be late by nearly a period, the others are not the earlier for it.
    assert in_rhythm[5].t_admitted_ns - in_rhythm[0].t_admitted_ns > 4 * period_ns
    begin, gaps_ns = in_rhythm[3].t_admitted_ns, []
    for _ in range(5):  # a machine that stands still makes a gap longer, never shorter
        held = [admitted(source) for _ in range(3)]
        time.sleep(0.1)  # three frames are due meanwhile, and the window is full
        for batch in held:
            answer(source, batch)
        late = serve(source, 2)
        gaps_ns.append(late[1].t_admitted_ns - late[0].t_admitted_ns)
        assert late[1].t_admitted_ns - begin >= 7 * period_ns, "no frame makes up for another"
        begin = late[0].t_admitted_ns
    assert min(gaps_ns) <= 2 * period_ns


def test_a_paced_workload_goes_on_when_nothing_is_in_flight(source: Source) -> None:
    source.activate(1, "test", frame_ms=0.05)
    begin = time.monotonic()
    serve(source, 2000)  # nobody wakes the source but time, whatever moment it looks at the clock
    assert time.monotonic() - begin < 60


def test_going_on_shows_the_images_that_come_next(source: Source) -> None:
    serve(source, 1)
    source.activate(1, "validation", go_on=True)
    (batch,) = serve(source, 1)
    assert batch.generation == 1 and batch.images.flatten().tolist() == [4, 5, 6, 7]


def test_going_on_in_another_split_begins_with_its_first_image(source: Source) -> None:
    serve(source, 2)  # the next would be image 8 of a split of 10; the other has 7
    source.activate(1, "test", go_on=True)
    (batch,) = serve(source, 1)
    assert batch.images.flatten().tolist() == [0, 1, 2, 3]


def test_recent_results_are_told_once_and_so_is_what_is_waited_for(source: Source) -> None:
    serve(source, 2)
    batch = admitted(source)
    seen = source.recent()
    assert [generation for generation, _ in seen.frames] == [0, 0]
    assert seen.waiting and seen.waiting[0] == 0 and seen.waiting[1] >= 0
    answer(source, batch)
    again = source.recent()
    assert len(again.frames) == 1 and again.waiting is None
