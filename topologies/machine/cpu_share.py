"""Hosts with less than a whole CPU, to emulate slower devices: a control group each (cgroups(7)).

A host's processes run as fast as the machine is and then wait, so that in every period they have
had their share (CFS bandwidth control, Documentation/scheduler/sched-bwc in the kernel's source).
The period is short, so that even a computation of some ten milliseconds is slowed evenly.
"""

import contextlib
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from topologies.errors import EmulationError

PERIOD_US = 20_000
LEAST_QUOTA_US = 1_000  # the kernel accepts no less
GONE_S = 2.0


def cpu_max(share: float) -> str:
    """The content of ``cpu.max``: microseconds of CPU in each period of microseconds."""
    period_us = max(PERIOD_US, math.ceil(LEAST_QUOTA_US / share))
    return f"{round(share * period_us)} {period_us}"


def cgroup2_mount(mounts: str) -> Path | None:
    """Find the folder of the control groups in the text of ``/proc/self/mounts``."""
    lines = (line.split() for line in mounts.splitlines())
    return next((Path(fields[1]) for fields in lines if fields[2] == "cgroup2"), None)


def obstacle(mounts: str, controllers: str) -> str | None:
    """Why no host can have a share of a CPU here, or None.

    ``mounts`` is the text of ``/proc/self/mounts``, ``controllers`` that of ``/proc/cgroups``,
    whose second column is not 0 for what an older hierarchy (v1) holds.
    """
    rows = [line.split() for line in controllers.splitlines()]
    cpu = next((row for row in rows if row[0] == "cpu"), None)
    if cpu is None or cpu[3] == "0":
        return "the kernel has no control group for CPU time"
    if cpu[1] != "0":
        return "cgroup v1 holds the CPU controller"
    root = cgroup2_mount(mounts)
    if root and "cpu" not in (root / "cgroup.controllers").read_text().split():
        return f"{root} is not given the CPU controller"
    return None


class CpuShares:
    """The control groups of a run: ``with CpuShares({"ue1": 0.25}) as shares: ...``.

    Needs root. Without any share it asks nothing of the kernel. Raises ``EmulationError`` where
    the kernel, or what surrounds this process, offers no control over CPU time.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        self._shares = shares
        self._groups: dict[str, Path] = {}
        self._own_mount: Path | None = None

    def __enter__(self) -> Self:
        try:
            if self._shares:
                self._make()
        except OSError as error:
            self._remove()
            raise _refusal(f"{error.strerror}: {error.filename}") from error
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def confine(self, host: str, pid: int) -> None:
        """From now on the process, with all that it starts, has no more than its host's share."""
        if host in self._groups:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                (self._groups[host] / "cgroup.procs").write_text(str(pid))

    def _make(self) -> None:
        root = cgroup2_mount(Path("/proc/self/mounts").read_text()) or self._mount()
        offered = (root / "cgroup.controllers").read_text().split()
        if "cpu" not in offered:
            raise _refusal(f"cgroup v2 offers {' '.join(offered) or 'nothing'}")
        (root / "cgroup.subtree_control").write_text("+cpu")
        for host, share in self._shares.items():
            group = root / f"concertina-{os.getpid()}-{host}"
            group.mkdir()
            self._groups[host] = group
            (group / "cpu.max").write_text(cpu_max(share))

    def _mount(self) -> Path:
        place = Path(tempfile.mkdtemp(prefix="concertina-cgroup-"))
        mount = ["mount", "-t", "cgroup2", "none", str(place)]
        done = subprocess.run(mount, capture_output=True, text=True)
        if done.returncode:
            place.rmdir()
            raise _refusal(" ".join(done.stderr.split()))
        self._own_mount = place
        return place

    def _remove(self) -> None:
        deadline = time.monotonic() + GONE_S
        for group in self._groups.values():
            while _is_busy(group) and time.monotonic() < deadline:
                time.sleep(0.01)  # its last process is being buried
        self._groups.clear()
        if self._own_mount:
            subprocess.run(["umount", str(self._own_mount)], capture_output=True)
            with contextlib.suppress(OSError):
                self._own_mount.rmdir()
            self._own_mount = None


def _is_busy(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _refusal(reason: str) -> EmulationError:
    return EmulationError(f"cpu_share: no control over CPU time here (cgroup v2, cpu): {reason}")
