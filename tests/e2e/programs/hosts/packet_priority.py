"""Says whether the thread that passes packets on goes before all who compute."""

import os
import subprocess


def main() -> None:
    pid = int(subprocess.check_output(["pgrep", "ksoftirqd"]))
    print(os.sched_getscheduler(pid) == os.SCHED_FIFO)


if __name__ == "__main__":
    main()
