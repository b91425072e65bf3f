"""The command line: what a user types, and what an error looks like to them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from testbed.commands.device import device, devices
from testbed.commands.distill import distill
from testbed.commands.fidelity import fidelity
from testbed.commands.kernel import kernel
from testbed.commands.link import link
from testbed.commands.options import (
    ClockOption,
    HostKind,
    HostOption,
    PaceOption,
    SeedOption,
    read_seed,
    wish,
)
from testbed.commands.sweep import sweep
from testbed.commands.train import lut, train, variant
from testbed.errors import OUR_ERRORS

if TYPE_CHECKING:
    from testbed.hosts.choose import HostWish
    from testbed.planning.checked import CheckedExperiment

app = typer.Typer(
    name="concertina",
    help=(
        "A network-emulation testbed for neural networks that are split over devices or "
        "delivered progressively to one.\n\n"
        "Start with `concertina demo`; then copy one of the files in testbed/experiments, "
        "change its links, and `concertina run` it. Every run leaves a directory with its "
        "captures, its figures (summary.json) and a page to open (report.html)."
    ),
    epilog=(
        "Exit status: 0 success; 1 the run failed or its links were not what they claim; "
        "2 bad input, nothing was started; 130 or 143 interrupted."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
console = Console()
errors = Console(stderr=True)

OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Run directory; default `runs/TIME-NAME`."),
]


@app.callback()
def _global(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the Python traceback of an error (anywhere).")
    ] = False,
) -> None:
    del debug  # main() reads it before the parser does, so that it may stand anywhere


@app.command()
def demo(
    host: HostOption = HostKind.AUTO,
    clock: ClockOption = None,
    seed: SeedOption = None,
    out: OutOption = None,
) -> None:
    """Run the main job: a split model and an Accordion download on shaped links.

    The same as `concertina run demo`: a handwritten-digits ResNet in three stages on a UE, an
    edge server and a cloud server; the controller narrows its cuts while it serves; then a UE
    downloads an Accordion model within a deadline and upgrades it. Takes less than half a minute.
    """
    _run(Path("demo"), [], wish(host, clock), seed, out)


@app.command()
def run(
    experiment: Annotated[
        Path,
        typer.Argument(
            metavar="EXPERIMENT.yaml", help="An experiment file, or the name of a shipped one."
        ),
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Replace one field, e.g. `--set network.access.rate_mbit=5`; may be repeated.",
        ),
    ] = None,
    out: OutOption = None,
    host: HostOption = HostKind.AUTO,
    clock: ClockOption = None,
    seed: SeedOption = None,
    pace: PaceOption = None,
) -> None:
    """Run an experiment and build its report.

    The file is checked whole before anything starts. Progress is shown while it works; the
    last lines say where the report is. `--set` takes any field of the file by its dotted path,
    list entries by their number.
    """
    _run(experiment, assignments or [], wish(host, clock, pace), seed, out)


@app.command()
def repeat(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.")],
    out: OutOption = None,
) -> None:
    """Run a run directory again and compare the captures, packet by packet.

    Says `identical: N packets in M captures` (exit status 0), or shows the first packet that
    differs, from both (1). The run must have been on the virtual clock; its directory may have been
    copied from another machine. With `--out` the second run stays there.
    """
    from testbed.run.repeat import repeat_run

    raise typer.Exit(repeat_run(directory, out, console))


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.")],
) -> None:
    """Rebuild summary.json, the plots and report.html of a run, on any machine, without root."""
    from testbed.run.reporting import rebuild_report

    raise typer.Exit(rebuild_report(directory, console))


@app.command()
def compare(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR DIR...", help="Run directories, two or more.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Also write a page, a CSV file and a plot."),
    ] = None,
) -> None:
    """Put runs side by side: figures, differences, confidence intervals.

    Differences are to the first run. Runs of the same experiment (but for the seed) are
    repetitions and share a column, unless all are. Warns where networks or fidelity differ.
    """
    from testbed.commands.compare import compare_runs

    raise typer.Exit(compare_runs(directories, out, console))


@app.command()
def trace(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.")],
    frames: Annotated[
        int, typer.Option("--frames", min=0, help="How many of the slowest frames to show.")
    ] = 8,
    packets: Annotated[
        Path | None,
        typer.Option(
            "--packets",
            metavar="FILE",
            dir_okay=False,
            help="Write every packet to this file, as CSV where it ends in .csv, else as Parquet.",
        ),
    ] = None,
) -> None:
    """Say what the captures of a run tell: flows, slowest frames and why, downloads.

    Reads the directory and writes nothing into it.
    """
    from testbed.commands.trace import show_trace

    if packets is not None and not packets.parent.is_dir():
        raise typer.BadParameter(f"{packets.parent}: no such directory", param_hint="--packets")
    raise typer.Exit(show_trace(directory, frames, console, packets))


@app.command()
def doctor() -> None:
    """Say what this machine offers, where experiments would run, and what would fix the rest."""
    from testbed.commands.doctor import examine, render

    findings = examine()
    console.print(render(findings))
    raise typer.Exit(0 if findings.usable else 1)


@app.command()
def profiles(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="One profile, in full; or `FILE.yaml:NAME` or `FILE.yaml` of your own.",
        ),
    ] = None,
) -> None:
    """List the link profiles, or show one and where its numbers come from.

    A profile of your own is written into a YAML file like those in topologies/links/profiles.yaml
    are, with all fields: `home: {down: {rate_mbit: 50, delay_ms: 8, jitter_ms: 1, loss_percent:
    0.1, buffer_bdp: 1}, up: {rate_mbit: 10, delay_ms: 8}, source: ..., latency: ...}`. Wherever a
    profile is named, in an experiment or on the command line, `FILE.yaml:home` names it.
    """
    from testbed.commands.profiles import show_profiles

    show_profiles(name, console)


@app.command()
def ladder(
    experiment: Annotated[
        Path,
        typer.Argument(
            metavar="EXPERIMENT.yaml", help="An experiment file, or the name of a shipped one."
        ),
    ],
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace one field, as for `run`."),
    ] = None,
) -> None:
    """Show the compression ladder of an experiment's cuts: bytes, accuracy, compute of each rung.

    Measured on the validation split, on this machine, without a network; kept in a cache by the
    content of everything it depends on.
    """
    checked = _checked(experiment, assignments or [])
    from testbed.run.runner import show_ladder

    show_ladder(checked, console)


app.add_typer(link)
app.add_typer(kernel)
app.add_typer(device)
for _command in (devices, fidelity, sweep, distill, train, lut, variant):
    app.command()(_command)


@app.command()
def test(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PYTEST ARGUMENTS]", help="Passed on to pytest, after `--`."),
    ] = None,
    identity: Annotated[
        int | None,
        typer.Option(
            "--identity",
            metavar="N",
            min=1,
            help="Instead: repeat three runs N times in all, under five conditions of the machine "
            "(quiet, busy, pinned, stopped and continued, elsewhere); all must be identical.",
        ),
    ] = None,
) -> None:
    """Run all checks: lint, types, the import contract, and every test."""
    from testbed.commands.checks import run_checks, run_identity

    raise typer.Exit(run_checks(arguments or []) if identity is None else run_identity(identity))


@app.command()
def clean(
    runs: Annotated[
        bool, typer.Option("--runs", help="Also delete the run directories below ./runs.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete them without asking.")] = False,
) -> None:
    """End whatever a killed run may have left: guests, emulated hosts, temporary files.

    Touches only what belongs to Concertina runs whose own process is gone.
    """
    from testbed.run.clean import clean_up, delete_runs, run_directories

    for line in clean_up():
        console.print(line)
    if not runs:
        return
    directories = run_directories(Path("runs"))
    for directory in directories:
        console.print(f"  {directory}", soft_wrap=True)
    if directories and (yes or typer.confirm(f"delete these {len(directories)} runs?")):
        delete_runs(directories)
    elif not directories:
        console.print("no run directories below ./runs")


def _run(
    experiment: Path, assignments: list[str], wanted: "HostWish", seed: str | None, out: Path | None
) -> None:
    if seed is not None:
        assignments = [*assignments, f"seed={read_seed(seed)}"]
    checked = _checked(experiment, assignments)
    from testbed.run.runner import run_experiment

    raise typer.Exit(run_experiment(checked, wanted, out, console))


def _checked(experiment: Path, assignments: list[str]) -> "CheckedExperiment":
    """The experiment of that file or name; all its mistakes are reported at once."""
    from testbed.experiment.file import find_experiment
    from testbed.planning.checked import checked_file

    return checked_file(find_experiment(experiment), assignments)


def main() -> None:
    """Entry point: runs the command, turns our errors into one line and an exit status."""
    debug = "--debug" in sys.argv[1:]
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        app(prog_name="concertina")
    except OUR_ERRORS as error:
        if debug:
            raise
        for line in str(error).splitlines():
            errors.print(
                f"concertina: {line}", style="red", highlight=False, markup=False, soft_wrap=True
            )
        sys.exit(error.exit_status)
    except OSError as error:
        if debug:
            raise
        errors.print(
            f"concertina: {error}", style="red", highlight=False, markup=False, soft_wrap=True
        )
        sys.exit(1)
