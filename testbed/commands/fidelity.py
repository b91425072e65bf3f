"""``concertina fidelity``: what can be asked for. The work is in testbed.fidelity.run."""

from pathlib import Path
from typing import Annotated

import typer

from testbed.commands.options import ClockOption, HostKind, HostOption, wish

Profiles = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PROFILE]...",
        help="Names of the catalogue, `FILE.yaml:NAME` or `FILE.yaml` of your own; default: the "
        "whole catalogue.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON, no table.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Where fidelity.json and the tools' own answers stay; default `runs/TIME-fidelity`.",
    ),
]


def fidelity(
    profiles: Profiles = None,
    json: Json = False,
    host: HostOption = HostKind.AUTO,
    clock: ClockOption = None,
    out: Out = None,
) -> None:
    """Hold link profiles against independent tools: are they what they claim?

    Measures each between two emulated hosts, one host boot for each: goodput of both directions,
    shortest round trip, loss with its exact 99 % interval, and the delay that a saturated queue
    adds. On the virtual clock tcpdump and ping do, once, in some seconds a profile, and nothing
    disturbs it. On the real clock iperf3 and ping do, in one to five minutes a profile, longest
    where links are slow; what else runs on the machine disturbs it.

    Exit status 1 where a profile is not what it claims. What the machine cannot carry is called
    `not measurable`, which is no failure.
    """
    from testbed.fidelity.run import measure_fidelity

    raise typer.Exit(measure_fidelity(profiles or [], wish(host, clock), out, as_json=json))
