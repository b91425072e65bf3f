"""``concertina link``: look at the links of a running experiment, and change them."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from testbed.run.link_control import LinkState

link = typer.Typer(
    name="link",
    help="Look at the links of a running experiment, and change them while traffic flows.",
    no_args_is_help=True,
)

RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run",
        metavar="DIR",
        help="Its run directory; default: the one that is running below ./runs.",
    ),
]


@link.command("set")
def set_link(
    name: Annotated[
        str, typer.Argument(metavar="LINK", help="As `concertina link show` lists it.")
    ],
    assignments: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...",
            help="`rate_mbit`, `delay_ms`, `jitter_ms`, `loss_percent`, `buffer_bdp` or `profile`; "
            "`up.` or `down.` before it: of one direction.",
        ),
    ],
    run: RunOption = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, metavar="S", help="How long to wait for it.")
    ] = 60.0,
) -> None:
    """Change a link of a running experiment, from another terminal.

    `concertina link set access rate_mbit=5 up.delay_ms=40`, `concertina link set edge-cloud
    profile=dsl loss_percent=1`. What is not named stays as it is, and the change holds until the
    next one or the end of the run. It is made in place: no packet is lost to it. The events of the
    run, and its plots, have the values from when the kernel had them. Packets that wait already
    keep their time of departure, unless the experiment says `network.changeable: true`.

    Exit status 2: refused, nothing was changed; 1: no answer.
    """
    from testbed.run.link_control import change_link

    Console().print(change_link(run, name, assignments, timeout_s), highlight=False)


@link.command("show")
def show_links(run: RunOption = None) -> None:
    """List the links of a running experiment with what they are now."""
    from testbed.run.link_control import current_links

    Console().print(_table(current_links(run)))


def _table(states: "Iterable[LinkState]") -> Table:
    table = Table(title="Links as they are now (delays are one-way)", title_justify="left")
    for heading in ("link", "direction", "from", "to"):
        table.add_column(heading)
    for heading in ("Mbit/s", "delay ms", "loss %"):
        table.add_column(heading, justify="right")
    for state in states:
        figures = (state.rate_mbit, state.delay_ms, state.loss_percent)
        table.add_row(
            state.link, state.direction, state.source, state.target, *(f"{x:g}" for x in figures)
        )
    return table
