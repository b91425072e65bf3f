"""Trains the paper's five schemes with several seeds: what its Fig. 4 needs, as one command.

python -m testbed.evidence.grid OUT_FOLDER --seeds 1 2 --at-once 2 -- --data cifar10 --depth 56 ...

What follows ``--`` is options of ``concertina train``, the same for every unit (a scheme and a
seed). All schemes come with one seed before any with the next. Each unit is a process of its own;
its output goes to NAME.log beside its checkpoint. ``--at-once`` units share the processors, or a
GPU: two of one thread each are faster than one of two threads, which wait for each other wherever
others compute too. Given again after an interruption, the same command skips finished units and
continues the others from their last whole epochs.
"""

import argparse
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from controller.accordion.lookup import table_path
from testbed.errors import OUR_ERRORS, TestbedError
from testbed.interruption import Stopped, stopped_by_signals

SCHEMES = {
    "resnet": ("--scheme", "resnet"),
    "coml-05": ("--scheme", "coml", "--p-full", "0.5"),
    "coml-03": ("--scheme", "coml", "--p-full", "0.3"),
    "block-coml-05": ("--scheme", "block-coml", "--p-full", "0.5"),
    "block-coml-03": ("--scheme", "block-coml", "--p-full", "0.3"),
}
POLL_S = 0.2


class BadGridError(TestbedError):
    """A grid that makes no sense as it was asked for."""

    exit_status = 2


def units(schemes: Iterable[str], seeds: Iterable[int]) -> dict[str, tuple[str, ...]]:
    """Options of every unit by its name, all schemes of one seed before the next seed."""
    return {
        f"{scheme}-seed{seed}": (*SCHEMES[scheme], "--seed", str(seed))
        for seed in seeds
        for scheme in schemes
    }


def claim(out: Path, options: list[str]) -> None:
    """Make the folder and note the common options in it; ``BadGridError`` if it has others."""
    out.mkdir(parents=True, exist_ok=True)
    note = out / "options.json"
    if note.exists() and json.loads(note.read_text()) != options:
        raise BadGridError(f"{out} holds a grid with other options: {note.read_text().strip()}")
    note.write_text(json.dumps(options) + "\n")


def train_all(
    out: Path, wanted: dict[str, tuple[str, ...]], options: list[str], at_once: int
) -> list[str]:
    """Train the unfinished units, ``at_once`` side by side; returns names of those that failed.

    However this ends, its processes end with it.
    """
    waiting = [name for name in wanted if not table_path(_checkpoint(out, name)).exists()]
    running: dict[str, subprocess.Popen[bytes]] = {}
    failed = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                name = waiting.pop(0)
                running[name] = _started(out, name, (*options, *wanted[name]), at_once)
                _tell(name, "begun")
            time.sleep(POLL_S)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                status = running.pop(name).returncode
                _tell(name, f"failed with status {status}, see its log" if status else "finished")
                failed += [name] if status else []
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    return failed


def _started(out: Path, name: str, options: Iterable[str], at_once: int) -> subprocess.Popen[bytes]:
    """The process of one unit; it holds a lock on its log for as long as it lives."""
    threads = max(1, len(os.sched_getaffinity(0)) // at_once)
    # Threads that spin while they wait would take the processor from other work.
    defaults = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    with (out / f"{name}.log").open("ab") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadGridError(f"{log.name}: another process is training this unit") from None
        command = [sys.executable, "-m", "testbed", "train", *options, str(_checkpoint(out, name))]
        return subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=defaults | os.environ
        )


def _checkpoint(out: Path, name: str) -> Path:
    return out / f"{name}.safetensors"


def _tell(name: str, what: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {name}: {what}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """The command; exit status 2 for arguments that make no sense, 1 if a unit failed."""
    given = sys.argv[1:] if arguments is None else arguments
    end = given.index("--") if "--" in given else len(given)
    own, options = _parser().parse_args(given[:end]), given[end + 1 :]
    try:
        claim(own.out, options)
        with stopped_by_signals():
            failed = train_all(own.out, units(own.schemes, own.seeds), options, own.at_once)
    except Stopped as stop:
        return 128 + stop.signal_number
    except OUR_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m testbed.evidence.grid", epilog="-- then options of concertina train"
    )
    parser.add_argument("out", type=Path, help="folder for checkpoints, tables and logs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=list(SCHEMES))
    parser.add_argument("--at-once", type=int, default=1, help="units side by side")
    return parser


if __name__ == "__main__":
    sys.exit(main())
