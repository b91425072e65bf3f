"""A guest on the real clock that the machine did not run for a while knows for how long."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Guest
from tests.e2e.hosts.processes import is_kernel, processes_of, until
from tests.e2e.programs.facts import FACTS

pytestmark = [pytest.mark.microvm, pytest.mark.real_clock]

STOPPED_MS = 400


def test_a_guest_that_stood_still_tells_how_long(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, temporary = guest.directory, tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    command = guest.bring("network/sample_pauses.py")
    with guest.host.start(command, writable=run) as running:
        until((run / "begun").exists, 30)
        time.sleep(0.5)
        kernel = [each for each in processes_of(temporary) if is_kernel(each)]
        for blow, wait_s in ((signal.SIGSTOP, STOPPED_MS / 1e3), (signal.SIGCONT, 0.5)):
            for process in kernel:
                os.kill(process, blow)
            time.sleep(wait_s)
        (run / "enough").touch()
        assert running.wait() == 0
    pauses = json.loads((run / FACTS).read_text())["pauses"]
    longest_ms = max(each["end_ns"] - each["begin_ns"] for each in pauses) / 1e6
    assert STOPPED_MS - 10 <= longest_ms <= 2 * STOPPED_MS
