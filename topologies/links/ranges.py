"""Ranges of a link's values: what the kernel's queues can really do, for every file and command.

``tc`` takes rates in whole bit/s, times in microseconds and losses in percent with six decimals
(:mod:`topologies.networks.shaping`).
"""

from typing import Annotated

from pydantic import Field

OUTAGE_MBIT = 0.1
"""The slowest that a varying link plays; see :mod:`topologies.links.traces`."""

LEAST_MBIT = 0.001
"""A full frame takes 12 s, the least buffer two minutes: half of what a token bucket of ``tc``
can count, 2^32 ticks of 64 ns."""

MOST_MBIT = 100_000
"""The rate at which netem keeps a varying link's frames in order."""

MOST_DELAY_MS = 60_000
"""A minute; netem's delay before Linux 4.15 ends at 2^32 ticks of 64 ns, 275 s."""

MOST_LOSS_PERCENT = 99.999999
"""The last that ``tc`` does not get as 100 %, at which nothing would cross the link."""

RateMbit = Annotated[float, Field(ge=LEAST_MBIT, le=MOST_MBIT, allow_inf_nan=False)]
"""Line rate of one direction, whole Ethernet frames, 10^6 bit/s."""

PlayedRateMbit = Annotated[float, Field(ge=OUTAGE_MBIT, le=MOST_MBIT, allow_inf_nan=False)]
"""Rate that a direction takes during a run by a trace or a scripted change, Mbit/s."""

DelayMs = Annotated[float, Field(ge=0, le=MOST_DELAY_MS, allow_inf_nan=False)]
"""One-way propagation delay, ms."""

JitterMs = Annotated[float, Field(ge=0, le=MOST_DELAY_MS, allow_inf_nan=False)]
"""Half of the width of the delay's uniform distribution, ms; never more than the delay."""

LossPercent = Annotated[float, Field(ge=0, le=MOST_LOSS_PERCENT, allow_inf_nan=False)]
"""Share of the frames that are lost at random, percent."""

BufferBdp = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
"""Droptail queue, bandwidth-delay products."""
