"""Link profiles: what a real access network does to packets, and where the numbers come from.

A profile has two directions, ``down`` (towards the user) and ``up`` (from the user). Delays are
one-way: where a source gives a round trip, each direction holds half of it, as WebPageTest does,
and ``latency`` records the source's own figure and convention.
"""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from topologies.catalogues.catalogue import Catalogue
from topologies.catalogues.wording import in_words
from topologies.errors import BadTopologyError
from topologies.links.ranges import BufferBdp, DelayMs, JitterMs, LossPercent, RateMbit
from topologies.links.traces import LinkTrace, TraceStep


class DirectionProfile(BaseModel):
    """One direction of a link.

    ``rate_mbit`` is the line rate in 10^6 bit/s counted over whole Ethernet frames, ``delay_ms``
    the one-way propagation delay, ``loss_percent`` the share of frames lost at random,
    ``buffer_bdp`` the droptail queue before the line in bandwidth-delay products (this rate times
    the round trip of both directions). With a ``trace`` the values are those before it is played,
    and what it does not set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate_mbit: RateMbit
    delay_ms: DelayMs = 0
    jitter_ms: JitterMs = Field(
        default=0,
        description="delays are uniform from delay_ms - jitter_ms to delay_ms + jitter_ms, and "
        "reorder nothing",
    )
    loss_percent: LossPercent = 0
    buffer_bdp: BufferBdp = 1
    trace: LinkTrace | None = None

    @model_validator(mode="after")
    def _jitter_within_delay(self) -> Self:
        steps = self.trace.steps if self.trace else ()
        delays_ms = (step.delay_ms for step in steps if step.delay_ms is not None)
        least_ms = min((self.delay_ms, *delays_ms))
        if self.jitter_ms > least_ms:
            raise ValueError(
                f"jitter_ms ({self.jitter_ms:g}) must not exceed delay_ms ({least_ms:g})"
            )
        return self

    def after(self, step: TraceStep) -> "DirectionProfile":
        """With the values that a step sets."""
        return self.model_copy(update=step.values())

    @property
    def is_exact(self) -> bool:
        """Neither loss nor jitter: one TCP connection can fill it and its delay is constant."""
        return self.loss_percent == 0 and self.jitter_ms == 0


class LinkProfile(BaseModel):
    """A named pair of directions with its source; see the module for the conventions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    down: DirectionProfile
    up: DirectionProfile
    source: str = Field(min_length=1)
    latency: str = Field(min_length=1)

    @property
    def rtt_ms(self) -> float:
        """Round trip without serialisation and queueing."""
        return self.down.delay_ms + self.up.delay_ms


def parse_profile(name: str, fields: object) -> LinkProfile:
    """A profile from the mapping a YAML file holds; ``BadTopologyError`` names every bad field."""
    if not isinstance(fields, Mapping):
        raise BadTopologyError(f"profile {name}: expected a mapping, got {fields!r}")
    try:
        return LinkProfile.model_validate({**fields, "name": name})
    except ValidationError as error:
        raise BadTopologyError(f"profile {name}: {'; '.join(reasons(error))}") from error


def first_reason(error: ValidationError) -> str:
    """The first complaint of pydantic."""
    return next(reasons(error))


def reasons(error: ValidationError) -> Iterator[str]:
    """The complaints of pydantic, a line each: field, reason and the value that was given."""
    for mistake in error.errors(include_url=False):
        field = ".".join(str(part) for part in mistake["loc"])
        yield f"{field}: {in_words(mistake)}" if field else in_words(mistake)


_CATALOGUE = Catalogue(
    "profile",
    files("topologies.links").joinpath("profiles.yaml"),
    "topologies/links/profiles.yaml",
    parse_profile,
)
parse_profiles = _CATALOGUE.parse_all
load_profile = _CATALOGUE.load
load_profiles = _CATALOGUE.load_all


def catalogue() -> Mapping[str, LinkProfile]:
    """The shipped profiles by name, in the order of the file."""
    return _CATALOGUE.shipped
