"""Streaming: whole blocks until the deadline, decided from what the sending kernel knows."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.accordion.serving.link_estimate import LinkEstimate, download_time_ms
from controller.accordion.serving.streaming import HEADROOM, arrival_ms, stream
from stage_node.accordion.protocol import ModelRequest, NotAdmittedError, Sending
from stage_node.wire.tcp_info import PathEstimate

ENDS = {(1, 0): 10_000, (2, 0): 20_000, (2, 1): 60_000, (2, 2): 100_000}


def at(elapsed_ms, unacknowledged_bytes=0, mbit=8.0, rtt_ms=20.0, window_bytes=1 << 20):
    path = PathEstimate(rtt_ms, mbit, rtt_ms, window_bytes, left_slow_start=True)
    return Sending(elapsed_ms, unacknowledged_bytes, path)


def plan(**needs):
    return stream(ModelRequest("m", admission="stream", **needs), ENDS)


def refusal(**needs) -> NotAdmittedError:
    with pytest.raises(NotAdmittedError) as caught:
        plan(**needs)
    return caught.value


def test_blocks_are_those_that_the_ue_lacks():
    ends = lambda **needs: [b.end_byte for b in plan(deadline_ms=100, **needs).blocks]  # noqa: E731
    assert ends() == list(ENDS.values())
    assert ends(first_byte=20_000) == ends(first_byte=25_000) == [60_000, 100_000]
    assert ends(max_bytes=60_000) == [10_000, 20_000, 60_000]
    assert plan(deadline_ms=100, first_byte=100_000).blocks == ()


def test_what_cannot_be_streamed_is_refused():
    assert refusal(deadline_ms=100, first_byte=100_001).status == 416
    assert "knows no accuracies" in str(refusal(deadline_ms=100, accuracy=0.9))
    assert "takes 10000 bytes, more than max_bytes=9999" in str(
        refusal(deadline_ms=100, max_bytes=9_999)
    )
    with pytest.raises(NotAdmittedError, match="no blocks"):
        stream(ModelRequest("m", deadline_ms=1), {})


def test_on_a_full_pipe_bytes_come_at_the_rate_less_the_way_back_of_their_answers():
    # 8 Mbit/s is a byte per microsecond: 30 kB are acknowledged after 30 ms, and were there
    # 10 ms before that.
    assert arrival_ms(at(50, 20_000), 10_000) == pytest.approx(50 + 30 - 10)


def test_on_an_empty_pipe_they_take_their_own_time_and_the_way():
    assert arrival_ms(at(50, 0), 10_000) == pytest.approx(50 + 10 + 10)


def early(elapsed_ms, acked_bytes, held_bytes, left=False):
    path = PathEstimate(20, 5.8, 20, 14_480, acked_bytes=acked_bytes, left_slow_start=left)
    return Sending(elapsed_ms, held_bytes, path)


def test_in_slow_start_it_takes_as_long_as_such_a_download_takes():
    link = LinkEstimate(rate_mbit=8, rtt_ms=20)
    whole_ms = download_time_ms(100_000, link)
    # The request came after one and a half round trips, the first answers a round trip later.
    assert arrival_ms(early(30, 0, 512), 100_000, link) == whole_ms
    first_ms = download_time_ms(1448, link) + 10
    held = 512 + 100_000 - 1448 - 512 - 30_000
    assert arrival_ms(early(first_ms, 1448 + 512, held), 30_000, link) == pytest.approx(whole_ms)
    assert arrival_ms(early(first_ms + 7, 1448 + 512, held), 30_000, link) == pytest.approx(
        whole_ms + 7
    )


def test_where_nothing_is_believed_of_the_link_round_trips_count_alone():
    assert arrival_ms(early(30, 0, 512), 10_000) == pytest.approx(40, abs=0.1)
    assert arrival_ms(early(30, 0, 512), 20_000) == pytest.approx(60, abs=0.1)


def test_a_queue_shows_that_the_link_and_not_the_window_sets_the_pace():
    path = PathEstimate(20, 8.0, 20, 1 << 20)
    assert path.slow_start
    assert not replace(path, rtt_ms=31).slow_start
    assert not replace(path, left_slow_start=True).slow_start


@given(
    link_mbit=st.floats(0.5, 200),
    rtt_ms=st.floats(1, 200),
    held=st.integers(0, 10**6),
    missing=st.integers(1, 10**6),
)
def test_a_fluid_link_delivers_when_it_is_said_to(link_mbit, rtt_ms, held, missing):
    """The oracle lets bytes flow: those the kernel holds are on the way, queued, or answered."""
    byte_ms = 8e-3 / link_mbit
    full = rtt_ms / byte_ms
    if held < full:
        held = int(full) + held  # a pipe that is full
    # The bytes whose answers are on their way back are at the UE already.
    there = rtt_ms / 2 / byte_ms
    truth_ms = (held - there + missing) * byte_ms
    said_ms = arrival_ms(at(0, held, link_mbit, rtt_ms, 1 << 40), missing)
    assert said_ms == pytest.approx(truth_ms, abs=1e-6 + missing * byte_ms * 1e-9 + byte_ms)


def test_a_block_is_begun_while_it_can_be_there_in_time():
    objection = plan(deadline_ms=100).objection
    last_ms = 100 * (1 - HEADROOM) - 20
    assert objection(at(last_ms - 0.1), 10_000, False) is None
    said = objection(at(last_ms + 0.1), 10_000, False)
    assert said == "the next 10000 bytes would be there after 96 ms, deadline_ms=100"


def test_a_block_that_has_begun_is_given_up_only_when_it_is_hopeless():
    objection = plan(deadline_ms=100).objection
    assert objection(at(82), 10_000, True) is None
    assert objection(at(84), 10_000, True) is None
    assert objection(at(86), 10_000, True) is not None
