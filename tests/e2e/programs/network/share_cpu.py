"""Has a host with a whole CPU and one with a quarter do the same work; reports how long it took."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.programs.facts import report
from topologies.machine.cpu_share import CpuShares

WORK = Path(__file__).with_name("timed_work.py")
TIMES = 6


def main() -> None:
    with CpuShares({"slow": 0.25}) as shares:
        times = [(work(shares, "fast"), work(shares, "slow")) for _ in range(TIMES)]
    report(times=times, mounted="cgroup2" in Path("/proc/self/mounts").read_text())


def work(shares: CpuShares, host: str) -> Any:
    process = subprocess.Popen(
        [sys.executable, str(WORK)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    shares.confine(host, process.pid)
    answer, _ = process.communicate("go\n")
    return json.loads(answer)


if __name__ == "__main__":
    main()
