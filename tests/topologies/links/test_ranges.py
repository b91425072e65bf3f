"""One range a value, at its edges: profile, trace, experiment file and `link set` agree."""

import pytest
from pydantic import BaseModel, ValidationError

from testbed.experiment.network_section import ChangedValues, LinkOverrides
from topologies.links.profiles import DirectionProfile, LinkProfile
from topologies.links.ranges import MOST_LOSS_PERCENT, OUTAGE_MBIT
from topologies.links.traces import TraceStep
from topologies.networks.shaping import Tap, shape_of, wire_lines

TICKS = 2**32  # a token bucket counts in 32 bits, in ticks of 64 ns
TAP = Tap("a", "b", 1)


class SomeProfile(DirectionProfile):
    """With a rate, so that each other value can be tried alone."""

    rate_mbit: float = 1


def takes(model: type[BaseModel], **values: float) -> bool:
    base = {"at_ms": 0} if model is TraceStep else {}
    if model is SomeProfile and "jitter_ms" in values:
        base = {"delay_ms": 60_000}
    try:
        model.model_validate(base | values)
    except ValidationError:
        return False
    return True


STANDING, PLAYED = (DirectionProfile, LinkOverrides), (TraceStep, ChangedValues)


@pytest.mark.parametrize("models", [STANDING, PLAYED])
def test_the_rate_has_one_range_for_what_stands_and_one_for_what_is_played(models) -> None:
    least = 0.001 if models is STANDING else OUTAGE_MBIT
    for model in models:
        assert takes(model, rate_mbit=least)
        assert takes(model, rate_mbit=100_000)
        for wrong in (0, least * 0.999, 100_001, float("inf"), float("nan")):
            assert not takes(model, rate_mbit=wrong), (model, wrong)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("delay_ms", (0, 60_000), (-0.001, 60_001, float("inf"))),
        ("loss_percent", (0, MOST_LOSS_PERCENT), (-0.1, 99.9999999, 100)),
    ],
)
def test_delay_and_loss_have_one_range_everywhere(name, right, wrong) -> None:
    for model in (SomeProfile, LinkOverrides, *PLAYED):
        assert all(takes(model, **{name: value}) for value in right), model
        assert not any(takes(model, **{name: value}) for value in wrong), model


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("jitter_ms", (0, 60_000), (-1, 60_001)),
        ("buffer_bdp", (1e-6, 1000), (0, 1001)),
    ],
)
def test_jitter_and_buffer_have_one_range_in_profiles_and_files(name, right, wrong) -> None:
    for model in (SomeProfile, LinkOverrides):
        assert all(takes(model, **{name: value}) for value in right), model
        assert not any(takes(model, **{name: value}) for value in wrong), model


def profile(**values: float) -> LinkProfile:
    one_way = DirectionProfile(**{"rate_mbit": 1, **values})
    return LinkProfile(name="x", down=one_way, up=one_way, source="test", latency="test")


def test_the_slowest_link_s_bucket_can_be_counted_by_tc() -> None:
    shape = shape_of(profile(rate_mbit=0.001), "a_to_b")
    assert shape.rate_bit == 1000
    assert shape.buffer_bytes * 8 / shape.rate_bit / 64e-9 < TICKS


def test_the_greatest_loss_is_not_written_as_all() -> None:
    shape = shape_of(profile(loss_percent=MOST_LOSS_PERCENT), "a_to_b")
    assert "loss random 99.999999%" in " ".join(wire_lines(TAP, shape, "netem"))


def test_the_longest_delay_is_within_netem_s_ticks() -> None:
    assert shape_of(profile(delay_ms=60_000), "a_to_b").delay_us * 1e-6 / 64e-9 < TICKS
