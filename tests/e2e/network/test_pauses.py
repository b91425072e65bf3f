"""A guest on the real clock that the machine did not run for a while knows for how long."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from testbed.hosts.environment import PYTHON
from testbed.hosts.microvm import MicroVm
from tests.e2e.hosts.processes import is_kernel, processes_of, until

pytestmark = [pytest.mark.microvm, pytest.mark.real_clock]

STOPPED_MS = 400
PROGRAM = """
import json, sys, time
from dataclasses import asdict
from pathlib import Path
from topologies.machine.pauses import PauseSampler

here = Path.cwd()
with PauseSampler() as machine:
    (here / "begun").touch()
    while not (here / "enough").exists():
        time.sleep(0.02)
    (here / "pauses.json").write_text(json.dumps([asdict(each) for each in machine.pauses()]))
"""


def test_a_guest_that_stood_still_tells_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, temporary = tmp_path / "run", tmp_path / "temporary"
    run.mkdir()
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    command = [PYTHON, "-c", PROGRAM]
    with MicroVm().start(command, writable=run) as guest:
        until((run / "begun").exists, 30)
        time.sleep(0.5)
        kernel = [each for each in processes_of(temporary) if is_kernel(each)]
        for blow, wait_s in ((signal.SIGSTOP, STOPPED_MS / 1e3), (signal.SIGCONT, 0.5)):
            for process in kernel:
                os.kill(process, blow)
            time.sleep(wait_s)
        (run / "enough").touch()
        assert guest.wait() == 0
    pauses = json.loads((run / "pauses.json").read_text())
    longest_ms = max(each["end_ns"] - each["begin_ns"] for each in pauses) / 1e6
    assert STOPPED_MS - 10 <= longest_ms <= 2 * STOPPED_MS
