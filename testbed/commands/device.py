"""``concertina devices`` and ``concertina device``: what hosts can stand for, and new ones."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

device = typer.Typer(
    name="device",
    help="Make a device of your own that hosts can stand for.",
    no_args_is_help=True,
)


def devices(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="One device, in full; or `FILE.yaml:NAME` or `FILE.yaml` of your own.",
        ),
    ] = None,
) -> None:
    """List the devices that hosts can stand for, or show one and where its numbers come from.

    In an experiment, `devices: {camera: raspberry-pi-4, edge: {speed: 0.5}, ue: my-pi.yaml}` says
    what each host is; on a virtual clock its computing is charged accordingly. A file of your own
    is written by `concertina device measure`, or by hand as testbed/devices/catalogue.yaml is.
    """
    from testbed.devices.listing import show_devices

    show_devices(name, Console())


@device.command("measure")
def measure(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Shipped checkpoints by name, or paths."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.yaml", help="The file to write.")],
    batch: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=1024,
            metavar="N",
            help="Images at once, as a pipeline's `batch`; may be repeated. [default: 16; and 1]",
        ),
    ] = None,
) -> None:
    """Measure what models take on this machine, and write it as a device.

    `concertina device measure digits-resnet20 --out my-pi.yaml` on a board, then `devices: {camera:
    my-pi.yaml}` in an experiment anywhere. Every layer is timed alone, on one core, as the shortest
    of many runs in processor time; some seconds for each batch size. Needs no network and no root.
    """
    from testbed.devices.measuring import measure_device

    console = Console()
    with console.status("measuring") as status:
        measure_device(models, batch or [16], out, lambda what: status.update(f"measuring {what}"))
    console.print(f"device {out.stem} written to {out}", highlight=False, soft_wrap=True)
