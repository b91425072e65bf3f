"""Options that several commands share."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.errors import BadExperimentError

if TYPE_CHECKING:
    from testbed.hosts.choose import HostWish


class HostKind(StrEnum):
    """A host for Mininet."""

    AUTO = "auto"
    NATIVE = "native"
    MICROVM = "microvm"


HostOption = Annotated[
    HostKind,
    typer.Option(
        "--host",
        help="Where Mininet runs: **native** (root and a kernel with netem), **microvm** "
        "(User-Mode Linux, no root), or **auto**: microvm on the virtual clock where that can be "
        "had, else native where it works, else microvm on the real clock.",
    ),
]


class ClockName(StrEnum):
    """A clock for the microVM."""

    VIRTUAL = "virtual"
    REAL = "real"


ClockOption = Annotated[
    ClockName | None,
    typer.Option(
        "--clock",
        help="Of the microVM: **virtual** (its own: it stands still while anybody computes, so "
        "that no other work of the machine touches a figure) or **real**. Default: what the "
        "experiment says, else virtual where it can be had.",
    ),
]
SeedOption = Annotated[
    str | None,
    typer.Option(
        "--seed",
        metavar="N",
        help="Of all random numbers, instead of the experiment's: on the virtual clock the same "
        "seed gives the same captures.",
    ),
]
PaceOption = Annotated[
    float | None,
    typer.Option(
        "--pace",
        metavar="X",
        help="Let the virtual clock pass X times as fast as the real one at most; with it links "
        "can be changed by `concertina link set` during the run.",
    ),
]


def read_seed(text: str) -> int:
    """Parse ``--seed``; raises BadExperimentError where it is none."""
    if not text.isascii() or not text.isdecimal() or int(text) >= 2**64:
        raise BadExperimentError(f"--seed {text}: not a whole number from 0 to 2^64 - 1")
    return int(text)


def read_pace(pace: float | None) -> float | None:
    """Check ``--pace``; raises BadExperimentError where no clock could keep it."""
    if pace is not None and not 0.001 <= pace <= 1000:
        raise BadExperimentError(f"--pace {pace:g}: not a number from 0.001 to 1000")
    return pace


def wish(host: HostKind, clock: ClockName | None, pace: float | None = None) -> "HostWish":
    """Type the options; raises BadExperimentError for what no machine could do."""
    from testbed.hosts.choose import HostWish, check_wish

    wanted = HostWish(host.value, clock.value if clock else None, read_pace(pace))
    check_wish(wanted)
    return wanted
