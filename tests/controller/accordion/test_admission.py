"""Admission: the most accurate configuration that fits, and a precise refusal where none does."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.accordion.lookup import LookupEntry, LookupTable
from controller.accordion.serving.admission import HEADROOM, lookup
from controller.accordion.serving.link_estimate import LinkEstimate, download_time_ms, path_window
from stage_node.accordion.protocol import ModelRequest, NotAdmittedError

LINK = LinkEstimate(rate_mbit=8, rtt_ms=20)
ENTRIES = [
    ((1, 0), 10_000, 0.6),
    ((2, 0), 20_000, 0.8),
    ((2, 1), 60_000, 0.8),
    ((2, 2), 100_000, 0.9),
]
TABLE = LookupTable(
    checkpoint_sha256="0" * 64,
    dataset="digits",
    samples=300,
    entries=tuple(
        LookupEntry(configuration=c, end_byte=end, accuracy=accuracy, macs=end)
        for c, end, accuracy in ENTRIES
    ),
)


def admit(**needs):
    return lookup(ModelRequest("m", **needs), TABLE, LINK)


def refusal(**needs) -> NotAdmittedError:
    with pytest.raises(NotAdmittedError) as caught:
        admit(**needs)
    return caught.value


def test_a_download_takes_its_round_trips_and_its_bytes():
    # 7 segments (with the response's header) in one window: handshake, request, 7 frames.
    assert download_time_ms(7 * 1448 - 512, LINK) == pytest.approx(40 + 7 * 1.514)
    # 15 segments: after ten the sender waits for the first acknowledgement.
    assert download_time_ms(15 * 1448 - 512, LINK) == pytest.approx(40 + 20 + 1.514 + 5 * 1.514)


def test_on_a_slow_link_the_window_is_full_at_once_and_only_the_rate_counts():
    link = LinkEstimate(rate_mbit=1, rtt_ms=50)
    assert download_time_ms(10**6, link) == pytest.approx(100 + -(-(10**6 + 512) // 1448) * 12.112)


def test_an_initial_window_of_the_path_leaves_two_round_trips_and_the_bytes():
    idle = LinkEstimate(rate_mbit=100, rtt_ms=20)
    link = replace(idle, window_segments=path_window(idle))
    assert link.window_segments == 167
    frames = -(-(1_000_000 + 512) // 1448)
    assert download_time_ms(10**6, link) == pytest.approx(40 + frames * 1514 * 8e-5)


def test_240_mbit_and_200_ms_carry_no_more_than_the_papers_six_megabytes():
    link = LinkEstimate(rate_mbit=240, rtt_ms=10)
    assert download_time_ms(6_000_000, link) > 200
    assert download_time_ms(4_000_000, link) < 200


@given(
    sizes=st.tuples(st.integers(1, 10**7), st.integers(1, 10**7)),
    rate=st.floats(0.1, 1000),
    rtt=st.floats(0, 800),
)
def test_more_bytes_never_take_less_time_and_a_better_link_never_more(sizes, rate, rtt):
    small, large = sorted(sizes)
    link = LinkEstimate(rate, rtt)
    assert download_time_ms(small, link) <= download_time_ms(large, link)
    assert download_time_ms(large, LinkEstimate(rate, rtt + 10)) > download_time_ms(large, link)
    goodput_ms = large * 8 / (rate * 1000 * 1448 / 1514)
    assert download_time_ms(large, link) >= 2 * rtt + goodput_ms * 0.999


def test_without_needs_of_its_own_a_deadline_decides():
    # 20 kB: two windows; 60 kB would take about 140 ms.
    admission = admit(deadline_ms=100)
    assert admission.configuration == (2, 0)
    assert (admission.first_byte, admission.end_byte) == (0, 20_000)
    assert admission.predicted_ms <= 100
    assert admit(deadline_ms=1000).configuration == (2, 2)


def test_of_two_equally_accurate_configurations_the_smaller_is_sent():
    assert admit(max_bytes=70_000).configuration == (2, 0)


def test_the_size_is_of_the_whole_model_at_the_ue_also_for_an_upgrade():
    assert admit(max_bytes=99_999, first_byte=20_000).configuration == (2, 1)
    assert "takes 60000 bytes, more than max_bytes=50000" in str(
        refusal(max_bytes=50_000, first_byte=20_000)
    )


def test_an_upgrade_sends_only_what_is_missing_for_the_wanted_accuracy():
    admission = admit(accuracy=0.85, first_byte=20_000)
    assert (admission.configuration, admission.first_byte, admission.end_byte) == (
        (2, 2), 20_000, 100_000,
    )  # fmt: skip
    assert admission.predicted_ms == download_time_ms(80_000, LINK)


def test_the_smallest_configuration_with_the_wanted_accuracy_is_enough():
    assert admit(accuracy=0.7).configuration == (2, 0)


def test_a_ue_that_has_what_it_wants_is_sent_nothing():
    for first_byte, needs in [(60_000, {"accuracy": 0.8}), (100_000, {"deadline_ms": 1000})]:
        admission = admit(first_byte=first_byte, **needs)
        assert admission.first_byte == admission.end_byte == first_byte


def test_refusals_say_what_would_be_needed():
    error = refusal(deadline_ms=30)
    assert error.status == 409
    assert str(error) == (
        "configuration 1-0 of m takes 52 ms at 8 Mbit/s and 20 ms round trip (profile), "
        "more than deadline_ms=30 less 4%"
    )
    assert "the best, 2-2, has 0.9000" in str(refusal(accuracy=0.95))
    assert "configuration 2-2 of m takes" in str(refusal(accuracy=0.9, deadline_ms=60))
    assert "takes 10000 bytes, more than max_bytes=9999" in str(refusal(max_bytes=9_999))
    assert refusal(first_byte=100_001, accuracy=0.5).status == 416


@given(
    deadline_ms=st.one_of(st.none(), st.floats(1, 500)),
    max_bytes=st.one_of(st.none(), st.integers(1, 200_000)),
    accuracy=st.one_of(st.none(), st.floats(0, 1)),
    first_byte=st.integers(0, 100_000),
)
def test_what_is_admitted_meets_every_need(deadline_ms, max_bytes, accuracy, first_byte):
    try:
        admission = admit(deadline_ms=deadline_ms, max_bytes=max_bytes, accuracy=accuracy,
                          first_byte=first_byte)  # fmt: skip
    except NotAdmittedError as error:
        assert error.status == 409
        return
    assert admission.first_byte == first_byte <= admission.end_byte
    if accuracy is not None:
        assert admission.accuracy >= accuracy
    if admission.end_byte > first_byte:
        assert admission.end_byte in {end for _, end, _ in ENTRIES}
        assert deadline_ms is None or admission.predicted_ms <= deadline_ms * (1 - HEADROOM)
        assert max_bytes is None or admission.end_byte <= max_bytes
