"""The manifest: all that a repetition of a run needs, code, versions, machine, clock."""

import os
import platform
import shutil
import subprocess
import time
from importlib.metadata import distributions

from controller.keeping.machine import cpu_model
from stage_node.records.machine import ClockPair, MachineFacts
from stage_node.records.manifest import CodeVersion, SoftwareVersions
from stage_node.repository import REPOSITORY


def describe_code() -> CodeVersion:
    """The commit of the working tree and whether it was changed since."""
    commit = _git("rev-parse", "HEAD")
    return CodeVersion(
        git_commit=commit, git_dirty=bool(_git("status", "--porcelain")) if commit else None
    )


def describe_machine() -> MachineFacts:
    """Kernel, processor and memory; quick, for it is asked inside the host, too."""
    return MachineFacts(
        kernel=platform.release(),
        machine=platform.machine(),
        cpu_model=cpu_model(),
        cpus=len(os.sched_getaffinity(0)),
        memory_mib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
    )


def describe_software() -> SoftwareVersions:
    """Versions of Python, its packages and the tools: the same inside the host and outside."""
    return SoftwareVersions(
        python=platform.python_version(),
        packages={d.metadata["Name"]: d.version for d in distributions()},
        tools={tool: _version(*command) for tool, command in _TOOLS.items()},
    )


def clock_pair() -> ClockPair:
    """The two clocks at one moment: the ledger uses the first, captures the second."""
    before = time.monotonic_ns()
    realtime = time.time_ns()
    after = time.monotonic_ns()
    return ClockPair(monotonic_ns=(before + after) // 2, realtime_ns=realtime)


_TOOLS = {
    "tc": ("tc", "-Version"),
    "tcpdump": ("tcpdump", "--version"),
    "mnexec": ("mnexec", "-v"),
    "ethtool": ("ethtool", "--version"),
}


def _version(*command: str) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines else ""


def _git(*arguments: str) -> str | None:
    done = subprocess.run(
        # another user's checkout is only read, which git refuses unless it is to trust it
        ["git", "-c", f"safe.directory={REPOSITORY}", "-C", str(REPOSITORY), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else None
