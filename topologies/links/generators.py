"""Seeded traces of links that vary as published measurements say they do; pure.

``python -m topologies.links.generators lte --seed 7 --duration-s 60 --peak-mbit 12 > lte.csv``
"""

import argparse
import math
import random
import sys
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from topologies.errors import BadTopologyError
from topologies.links.ranges import MOST_MBIT, OUTAGE_MBIT
from topologies.links.traces import BIN_MS, LinkTrace, TraceStep, to_csv

Pattern = Literal["lte", "starlink", "outages"]

SPROUT_NOISE = 0.2
"""Standard deviation of an LTE link's rate after one second, as a share of its peak: sigma = 200
packets per second per square root of a second, where 1000 packets per second are the most
(Winstein, Sivaraman, Balakrishnan: "Stochastic Forecasts Achieve High Throughput and Low Delay
over Cellular Networks", NSDI 2013, section 3.1)."""
LTE_FLOOR = 0.05
"""Share of the peak below which ``lte`` does not fall; ``outages`` has what lies below."""

STARLINK_SLOT_S = 15
"""A terminal is assigned to a satellite in slots of 15 s (G. Huston, APNIC, 2024, and many)."""
STARLINK_SPREAD = 0.35
HANDOVER_MS = 200
HANDOVER_LOSS_PERCENT = 50.0
"""Losses "of up to 50 % of packets", at hand-overs between satellites (Kassem et al.: "A
Browser-side View of Starlink Connectivity", IMC 2022)."""
STARLINK_DELAY_MS = (15.0, 30.0)

UP_S, DOWN_S = 10.0, 1.0
"""Mean lengths of service and outage: 1 s of outage as in Sprout, escape rate 1 per second."""


def generate(pattern: Pattern, seed: int, duration_s: float, peak_mbit: float) -> LinkTrace:
    """A trace of a link whose best rate is ``peak_mbit``, in steps of 100 ms; it repeats.

    ``lte``: Sprout's model, a Brownian motion of the rate between the peak and a twentieth of it.
    ``starlink``: each slot of 15 s has a level and a delay of its own, with small changes inside;
    a hand-over loses packets. ``outages``: the peak, and now and then nothing.
    Raises ``BadTopologyError`` for figures that make no trace.
    """
    count = round(1e3 * duration_s / BIN_MS)
    if count < 2:
        raise BadTopologyError(f"trace {pattern}: duration_s: too short: {duration_s:g}")
    if peak_mbit * LTE_FLOOR < OUTAGE_MBIT:
        raise BadTopologyError(
            f"trace {pattern}: a peak of {peak_mbit:g} Mbit/s is too slow to vary, "
            f"{OUTAGE_MBIT / LTE_FLOOR:g} at least"
        )
    if peak_mbit > MOST_MBIT:
        raise BadTopologyError(
            f"trace {pattern}: a peak of {peak_mbit:g} Mbit/s is more than a link has, {MOST_MBIT}"
        )
    draw = random.Random(f"{pattern} {seed}")
    return LinkTrace(
        source=f"{pattern}, generated with seed {seed}",
        steps=tuple(_PATTERNS[pattern](draw, count, peak_mbit)),
        period_ms=count * BIN_MS,
    )


def _lte(draw: random.Random, count: int, peak_mbit: float) -> list[TraceStep]:
    floor, share = LTE_FLOOR, draw.uniform(LTE_FLOOR, 1.0)
    steps = []
    for index in range(count):
        steps.append(_step(index, rate_mbit=peak_mbit * share))
        share += draw.gauss(0, SPROUT_NOISE * math.sqrt(BIN_MS / 1e3))
        share = 2 * floor - share if share < floor else share
        share = 2.0 - share if share > 1.0 else share
    return steps


def _starlink(draw: random.Random, count: int, peak_mbit: float) -> list[TraceStep]:
    slot = STARLINK_SLOT_S * 1000 // BIN_MS
    handover = HANDOVER_MS // BIN_MS
    offset = draw.randrange(slot)
    level = delay_ms = 0.0
    steps = []
    for index in range(count):
        into = (index + offset) % slot
        if index == 0 or into == 0:
            level = min(0.9, 0.55 * math.exp(draw.gauss(0, STARLINK_SPREAD)))
            delay_ms = draw.uniform(*STARLINK_DELAY_MS)
        share = min(1.0, max(LTE_FLOOR, level * (1 + draw.gauss(0, 0.08))))
        loss = HANDOVER_LOSS_PERCENT if into < handover else 0.0
        steps.append(
            _step(index, rate_mbit=peak_mbit * share, delay_ms=delay_ms, loss_percent=loss)
        )
    return steps


def _outages(draw: random.Random, count: int, peak_mbit: float) -> list[TraceStep]:
    up, left_s = True, draw.expovariate(1 / UP_S)
    steps = []
    for index in range(count):
        steps.append(_step(index, rate_mbit=peak_mbit if up else OUTAGE_MBIT))
        left_s -= BIN_MS / 1e3
        if left_s <= 0:
            up = not up
            left_s = draw.expovariate(1 / (UP_S if up else DOWN_S))
    return steps


def _step(index: int, **values: float) -> TraceStep:
    # Rounded to what tc keeps anyway, so that a trace looks the same in a file.
    rounded = {name: round(value, 3) for name, value in values.items()}
    return TraceStep(at_ms=index * BIN_MS, **rounded)


_PATTERNS: dict[Pattern, Callable[[random.Random, int, float], list[TraceStep]]] = {
    "lte": _lte,
    "starlink": _starlink,
    "outages": _outages,
}


def main(arguments: Sequence[str]) -> int:
    """Write a trace as CSV to standard output; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m topologies.links.generators",
        description="Write a seeded link trace as CSV.",
    )
    parser.add_argument("pattern", choices=get_args(Pattern))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--duration-s", type=float, default=60.0)
    parser.add_argument("--peak-mbit", type=float, default=12.0, help="best rate of the link")
    given = parser.parse_args(arguments)
    try:
        trace = generate(given.pattern, given.seed, given.duration_s, given.peak_mbit)
    except BadTopologyError as error:
        print(f"trace: {error}", file=sys.stderr)
        return 2
    sys.stdout.write(to_csv(trace))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
