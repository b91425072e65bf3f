"""Traces of links that vary: read, written, generated, and refused with file, line and reason."""

import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from topologies.errors import BadTopologyError
from topologies.links.generators import generate, main
from topologies.links.traces import (
    OUTAGE_MBIT,
    LinkTrace,
    TraceStep,
    parse_csv,
    parse_mahimahi,
    read_trace,
    to_csv,
)

stamps = st.lists(st.integers(0, 2000), min_size=1, max_size=300).map(sorted)


@given(stamps, st.sampled_from([20, 100, 250]))
def test_mahimahi_bins_hold_every_opportunity_of_a_lap(times: list[int], bin_ms: int) -> None:
    assume(times[-1] > 0)
    trace = parse_mahimahi("\n".join(map(str, times)), "x.up", bin_ms)
    period = times[-1]
    assert trace.period_ms == period
    # Counted another way: what a lap delivers, opportunity by opportunity.
    expected = Counter((time % period) // bin_ms for time in times)
    for index, step in enumerate(trace.steps):
        length_ms = min(bin_ms, period - index * bin_ms)
        mbit = expected[index] * 12_000 / length_ms / 1000
        assert step.rate_mbit == pytest.approx(max(mbit, OUTAGE_MBIT))
    assert sum(expected.values()) == len(times)


def test_a_steady_mahimahi_trace_is_a_steady_rate_and_a_gap_is_an_outage() -> None:
    steady = parse_mahimahi("\n".join(str(ms) for ms in range(1, 1001)), "12mbit")
    assert {step.rate_mbit for step in steady.steps} == {12.0}
    gap = [ms for ms in range(1, 1001) if not 300 <= ms < 500]
    rates = [step.rate_mbit for step in parse_mahimahi("\n".join(map(str, gap)), "gap").steps]
    assert rates == [12.0] * 3 + [OUTAGE_MBIT] * 2 + [12.0] * 5


@st.composite
def traces(draw: st.DrawFn) -> LinkTrace:
    count, width = draw(st.integers(2, 20)), draw(st.sampled_from([100, 250, 1000]))
    loss = draw(st.booleans())
    steps = tuple(
        TraceStep(
            at_ms=index * width,
            rate_mbit=draw(st.floats(OUTAGE_MBIT, 1000)),
            delay_ms=draw(st.floats(0, 500)),
            loss_percent=draw(st.floats(0, 99)) if loss else None,
        )
        for index in range(count)
    )
    return LinkTrace(source="trace x", steps=steps, period_ms=count * width)


@given(traces())
def test_csv_gives_back_what_was_written(trace: LinkTrace) -> None:
    assert parse_csv(to_csv(trace), "x") == trace


@given(traces(), st.floats(0, 100_000))
def test_the_step_at_a_time_is_the_last_one_played_by_then(trace: LinkTrace, t_ms: float) -> None:
    played = itertools.takewhile(lambda step: step.at_ms <= t_ms, trace.playing())
    *_, last = played
    assert last.values() == trace.at(t_ms).values()


def test_a_trace_without_a_period_stays_at_its_last_step() -> None:
    steps = (TraceStep(at_ms=0), TraceStep(at_ms=10, rate_mbit=1.0))
    trace = LinkTrace(source="s", steps=steps)
    assert list(trace.playing()) == list(steps)
    assert trace.at(1e9).rate_mbit == 1.0 and trace.slowest_mbit(5.0) == 1.0


BAD_CSV = [
    ("time_s,rate_mbit\n0,1\n2,1\n1,1\n", "line 4: time does not go forward: 1 s"),
    ("time_s,rate_mbit\n0,1\n0,2\n", "line 3: time does not go forward: 0 s"),
    ("time_s,rate_mbit\n0,0\n", r"line 2: rate_mbit: .* got 0 \(an outage is written as 0.1"),
    ("time_s,rate_mbit\n0,-3\n", "line 2: rate_mbit: .* got -3"),
    ("time_s,rate_mbit\n0,fast\n", "line 2: rate_mbit: expected a number, got 'fast'"),
    ("time_s,rate_mbit\n0,nan\n", "line 2: rate_mbit"),
    ("time_s,rate_mbit\n0\n", "line 2: 1 cells, the header has 2"),
    ("time_s,rate_mbit,rtt_ms\n0,1,2\n", "line 1: unknown column 'rtt_ms', known are time_s"),
    ("time_s,delay_ms\n0,1\n", "line 1: there is no column rate_mbit"),
    ("time_s,rate_mbit,rate_mbit\n0,1,2\n", "line 1: column rate_mbit is there twice"),
    ("time_s,rate_mbit,loss_percent\n0,1,100\n", "line 2: loss_percent: .* got 100"),
    ("time_s,rate_mbit\n", "no line after the header: it is empty"),
    ("", "line 1: there is no column time_s"),
]


@pytest.mark.parametrize(("text", "reason"), BAD_CSV)
def test_a_bad_csv_is_refused_with_file_line_and_reason(
    text: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(BadTopologyError, match=f"^trace {file}: {reason}"):
        read_trace(file)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1\n5\n3\n", "line 3: time goes backwards, from 5 to 3 ms"),
        ("1\n2.5\n", "line 2: expected a time in whole milliseconds, got '2.5'"),
        ("1\n-2\n", "line 2: expected a time in whole milliseconds, got '-2'"),
        ("", "it is empty"),
        ("0\n0\n", "it is empty"),
    ],
)
def test_a_bad_mahimahi_trace_is_refused_too(text: str, reason: str) -> None:
    with pytest.raises(BadTopologyError, match=f"^trace x: .*{reason}"):
        parse_mahimahi(text, "x")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadTopologyError, match="cannot be read: No such file"):
        read_trace(tmp_path / "none.csv")


@pytest.mark.parametrize("pattern", ["lte", "starlink", "outages"])
def test_a_seed_gives_the_same_trace_and_another_seed_another(pattern: str) -> None:
    one, same, other = (generate(pattern, seed, 60, 20) for seed in (1, 1, 2))  # type: ignore[arg-type]
    assert one == same and one.steps != other.steps
    assert one.period_ms == 60_000 and len(one.steps) == 600
    assert all(OUTAGE_MBIT <= (step.rate_mbit or 0) <= 20 for step in one.steps)


def test_lte_wanders_as_sprout_says() -> None:
    """The change within a second has a standard deviation of a fifth of the peak, less what the
    two borders reflect."""
    peak = 12.0
    rates = [step.rate_mbit or 0 for step in generate("lte", 5, 2000, peak).steps]
    changes = [b - a for a, b in itertools.pairwise(rates)]
    per_root_second = (sum(c * c for c in changes) / len(changes)) ** 0.5 * 10**0.5
    assert per_root_second / peak == pytest.approx(0.2, rel=0.1)
    assert min(rates) >= 0.05 * peak - 1e-9 and max(rates) <= peak
    assert 0.4 < sum(rates) / len(rates) / peak < 0.65, (
        "uniform between the borders in the long run"
    )


def test_starlink_hands_over_every_15_seconds_and_loses_packets_there() -> None:
    steps = generate("starlink", 3, 120, 100).steps
    lossy = [step.at_ms for step in steps if step.loss_percent]
    begins = [t for t in lossy if t - 100 not in lossy]
    assert {b - a for a, b in itertools.pairwise(begins)} == {15_000}
    slots = {step.delay_ms for step in steps}
    assert 8 <= len(slots) <= 9, "a delay for each slot"


def test_the_command_writes_what_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lte", "--seed", "7", "--duration-s", "5", "--peak-mbit", "4"]) == 0
    trace = parse_csv(capsys.readouterr().out, "x")
    assert [s.values() for s in trace.steps] == [s.values() for s in generate("lte", 7, 5, 4).steps]
    assert main(["lte", "--peak-mbit", "1"]) == 2
    assert "too slow to vary" in capsys.readouterr().err
