"""Kills a process that runs a network; reports what there was before, meanwhile and afterwards."""

import subprocess
import sys
import time
from pathlib import Path

from tests.e2e.programs.facts import report
from tests.e2e.programs.machine import namespaces, running, shells

RUNNER = Path(__file__).with_name("stay_up.py")


def main() -> None:
    before = namespaces()
    runner = subprocess.Popen([sys.executable, str(RUNNER)], stdout=subprocess.PIPE)
    assert runner.stdout is not None
    assert runner.stdout.readline() == b"ready\n"
    during = there_is()
    runner.kill()
    runner.wait()
    deadline = time.monotonic() + 5
    while (namespaces() > before or running("tcpdump")) and time.monotonic() < deadline:
        time.sleep(0.05)
    report(before=before, during=during, after=there_is())


def there_is() -> tuple[int, int, int]:
    """Namespaces, captures and shells."""
    return namespaces(), running("tcpdump"), len(shells())


if __name__ == "__main__":
    main()
