"""Link profiles: what a real access network does to packets, and where the numbers come from.

A profile has two directions, ``down`` (towards the user) and ``up`` (from the user). Delays are
one-way: where a source gives a round trip, each direction holds half of it, as WebPageTest does,
and ``latency`` records the source's own figure and convention.
"""

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from topologies.errors import BadTopologyError
from topologies.strict_yaml import first_line, load_strictly
from topologies.traces import LinkTrace, TraceStep
from topologies.wording import in_words

FILE_ENDINGS = (".yaml", ".yml")


class DirectionProfile(BaseModel):
    """One direction of a link.

    ``rate_mbit`` is the line rate in 10^6 bit/s counted over whole Ethernet frames, ``delay_ms``
    the one-way propagation delay, ``jitter_ms`` how far netem spreads it, uniformly, to either
    side (never reordering), ``loss_percent`` the share of frames lost at random, ``buffer_bdp``
    the droptail queue before the line in bandwidth-delay products (this rate times the round
    trip of both directions). With a ``trace`` the values are those before it is played, and what
    it does not set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate_mbit: float = Field(ge=0.001, le=100_000, allow_inf_nan=False)
    delay_ms: float = Field(default=0, ge=0, le=60_000, allow_inf_nan=False)
    jitter_ms: float = Field(default=0, ge=0, allow_inf_nan=False)
    loss_percent: float = Field(default=0, ge=0, lt=100, allow_inf_nan=False)
    buffer_bdp: float = Field(default=1, gt=0, le=1000, allow_inf_nan=False)
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


@cache
def catalogue() -> Mapping[str, LinkProfile]:
    """The shipped profiles by name, in the order of the file."""
    text = files("topologies").joinpath("profiles.yaml").read_text(encoding="utf-8")
    return parse_profiles(text)


def parse_profiles(text: str) -> Mapping[str, LinkProfile]:
    """The profiles of a YAML file in the form of the shipped ``profiles.yaml``, by name.

    ``BadTopologyError`` has a line for each profile that is none.
    """
    profiles, mistakes = {}, []
    for name, fields in _by_name(text).items():
        try:
            profiles[name] = parse_profile(name, fields)
        except BadTopologyError as error:
            mistakes.append(str(error))
    if mistakes:
        raise BadTopologyError("\n".join(mistakes))
    return MappingProxyType(profiles)


def _by_name(text: str) -> dict[str, object]:
    """What a file of profiles holds under each name, unread."""
    try:
        raw = load_strictly(text)
    except yaml.YAMLError as error:
        raise BadTopologyError(f"cannot be read: {first_line(error)}") from error
    if not isinstance(raw, Mapping) or not raw:
        raise BadTopologyError("expected profiles by name, as in topologies/profiles.yaml")
    return {str(name): fields for name, fields in raw.items()}


Parsed = TypeVar("Parsed")


def _read(file: Path, parse: Callable[[str], Parsed]) -> Parsed:
    """Parse a user's own file; every line of a ``BadTopologyError`` names it."""
    try:
        return parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadTopologyError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadTopologyError(f"{file}: cannot be read: {error}") from error
    except BadTopologyError as error:
        lines = (f"{file}: {line}" for line in str(error).splitlines())
        raise BadTopologyError("\n".join(lines)) from error


def load_profile(reference: str) -> LinkProfile:
    """A shipped profile by ``NAME``, or one of a user's own by ``FILE:NAME``.

    Of a file only that one is looked at. ``BadTopologyError`` names the one that may be meant, or
    all.
    """
    file, name = split_reference(reference)
    if file is not None:
        return _read(file, lambda text: _one_of(text, name))
    _check_known(name, catalogue())
    return catalogue()[name]


def _one_of(text: str, name: str) -> LinkProfile:
    by_name = _by_name(text)
    _check_known(name, by_name)
    return parse_profile(name, by_name[name])


def _check_known(name: str, known: Collection[str]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    raise BadTopologyError(f"profile {name!r} is not known; {hint}")


def load_profiles(reference: str) -> tuple[LinkProfile, ...]:
    """What :func:`load_profile` takes, or every profile of a user's file (``FILE.yaml``)."""
    if reference.endswith(FILE_ENDINGS):
        return tuple(_read(Path(reference), parse_profiles).values())
    return (load_profile(reference),)


def split_reference(reference: str) -> tuple[Path | None, str]:
    """``FILE:NAME`` -> the file and the name; ``None`` and the name if it is a shipped one."""
    file, _, name = reference.rpartition(":")
    return (Path(file) if file else None), name
