"""``concertina kernel``: look at the guest's kernel with a virtual clock, build it, choose it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from testbed.kernel.guest_kernel import GuestKernel

kernel = typer.Typer(
    name="kernel",
    help="The microVM's kernel with a virtual clock: which is used, build it, use one of your own.",
    invoke_without_command=True,
)
BUILT = "built"


@kernel.callback()
def _alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        show_status()


@kernel.command("status")
def show_status() -> None:
    """Say which kernel is used and where it is, or what is missing (exit status 1)."""
    from testbed.kernel.cache import find_kernel

    found = find_kernel()
    if found is not None:
        _show(found)
        return
    from testbed.kernel.status import absence

    for line in absence():
        _print(line)
    raise typer.Exit(1)


@kernel.command("build")
def build(
    again: Annotated[
        bool, typer.Option("--again", help="Build it anew, from the newest source.")
    ] = False,
) -> None:
    """Build the kernel from the distribution's source, as an ordinary user, where it is missing.

    Takes about four minutes on two processors. `demo`, `run` and `test` do it where they need it.
    It is kept in `$XDG_CACHE_HOME/concertina/kernels`, everything else is deleted.
    """
    from testbed.kernel.build import build_kernel

    _show(build_kernel(Console(), again))


@kernel.command("use")
def use(
    file: Annotated[
        str, typer.Argument(metavar="FILE|built", help="A kernel, or the word `built`.")
    ],
) -> None:
    """Use a kernel of your own from now on, or with `built` the one that is built here.

    It has to be User-Mode Linux from 6.6 on with CONFIG_UML_TIME_TRAVEL_SUPPORT=y, with what links
    are made of built in, and is copied. Exit status 2: it will not do, nothing was changed.
    """
    from testbed.kernel.own import use_built_kernel, use_kernel

    if file == BUILT:
        use_built_kernel()
        show_status()
    else:
        _show(use_kernel(Path(file), Console()))


def _show(found: "GuestKernel") -> None:
    origin = "built here" if found.origin == BUILT else "your own"
    _print(f"kernel: Linux {found.version}, {origin}")
    _print("clock: virtual, or real")
    _print(f"file: {found.executable}")
    _print(f"SHA-256: {found.sha256}")
    _print(f"configuration: {found.configuration_hash[:12]}, {found.configuration}")


def _print(line: str) -> None:
    Console().print(line, highlight=False, markup=False, soft_wrap=True)
