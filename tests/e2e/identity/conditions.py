"""Conditions of the machine under which a run on the virtual clock has to stay the same."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stage_node.repository import REPOSITORY
from testbed.kernel.cache import kernel_cache

NOBODY = 65534
BUSY = (sys.executable, "-I", "-S", "-c", "while True: pass")
STOPPED_S, CONTINUED_S = 0.004, 0.012


@dataclass(frozen=True)
class Repeated:
    """How ``concertina repeat`` ended, and what it said."""

    status: int
    said: str


def repeat(directory: Path, *before: str, env: dict[str, str] | None = None) -> Repeated:
    """Repeat a run directory, the command begun by ``before``."""
    done = subprocess.run(
        [*before, sys.executable, "-P", "-m", "testbed", "repeat", str(directory)],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | (env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return Repeated(done.returncode, done.stdout)


def quiet(directory: Path) -> Repeated:
    """Nothing beside it that we know of."""
    return repeat(directory)


def beside_four_busy_loops(directory: Path) -> Repeated:
    """More work than the machine has processors."""
    with busy_loops(4):
        return repeat(directory)


def pinned_beside_a_busy_loop(directory: Path) -> Repeated:
    """One processor for everything, and half of it taken."""
    cpu = str(min(os.sched_getaffinity(0)))
    with busy_loops(1, "taskset", "--cpu-list", cpu):
        return repeat(directory, "taskset", "--cpu-list", cpu)


def stopped_and_continued(directory: Path) -> Repeated:
    """The guest's kernel stands still for some milliseconds, again and again."""
    with interrupted_guests(directory):
        return repeat(directory)


def elsewhere_as_somebody_else(directory: Path) -> Repeated:
    """Another path, another user where we may become one, another copy of the kernel, no data."""
    place = Path(tempfile.mkdtemp(prefix="a place with a longer name, elsewhere "))
    cache = place / "cache"
    try:
        shutil.copytree(directory, place / "run")
        shutil.copytree(kernel_cache(), cache / "concertina" / "kernels", symlinks=True)
        become: tuple[str, ...] = ()
        if os.geteuid() == 0 and all(map(_others_may_read, (REPOSITORY, Path(sys.prefix)))):
            become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
            for path in (place, *place.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        home = {"HOME": str(place), "XDG_CACHE_HOME": str(cache)}
        home["CONCERTINA_DATA"] = str(place / "not there")
        return repeat(place / "run", *become, env=home)
    finally:
        shutil.rmtree(place)


CONDITIONS: tuple[Callable[[Path], Repeated], ...] = (
    quiet,
    beside_four_busy_loops,
    pinned_beside_a_busy_loop,
    stopped_and_continued,
    elsewhere_as_somebody_else,
)


@contextmanager
def busy_loops(count: int, *before: str) -> Iterator[None]:
    """So many processes that compute as long as this lasts."""
    loops = [subprocess.Popen([*before, *BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@contextmanager
def interrupted_guests(directory: Path) -> Iterator[None]:
    """Stop and continue every guest kernel below this process, at moments that differ each time."""
    ended = threading.Event()
    chance = random.Random()

    def interrupt() -> None:
        while not ended.is_set():
            kernels = guest_kernels()
            for number, pause_s in ((signal.SIGSTOP, STOPPED_S), (signal.SIGCONT, CONTINUED_S)):
                for kernel in kernels:
                    try:
                        os.kill(kernel, number)
                    except ProcessLookupError:
                        continue
                time.sleep(pause_s * 2 * chance.random())

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def guest_kernels() -> list[int]:
    """The first process of every guest that this process's descendants started."""
    children: dict[int, list[int]] = {}
    kernels = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(") ")[2].split()
            words = (stat.parent / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        process = int(stat.parent.name)
        children.setdefault(int(fields[1]), []).append(process)
        if b"umid=guest" in words and int(fields[3]) == process:  # it leads its session
            kernels.append(process)
    ours, found = [os.getpid()], set()
    while ours:
        process = ours.pop()
        found.add(process)
        ours += children.get(process, [])
    return [kernel for kernel in kernels if kernel in found]


def _others_may_read(path: Path) -> bool:
    """Whether another user reaches a folder."""
    return all(each.stat().st_mode & 0o005 == 0o005 for each in (path, *path.parents))
