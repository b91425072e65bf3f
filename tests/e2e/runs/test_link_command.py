"""A link of a run that goes on is changed from another terminal, and the wire shows it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stage_node.records.events import LinkChanged, LinkCommanded, ModelRequested, read_events
from stage_node.repository import REPOSITORY
from testbed.kernel.guest_kernel import GuestKernel
from testbed.run.running_lock import goes_on
from tests.e2e.hosts.processes import until

pytestmark = pytest.mark.microvm

EXPERIMENT = """
name: live
network:
  shape: chain
  hosts: [ue, server]
  links: {rate_mbit: 8, delay_ms: 10}
accordion:
  model: digits-resnet20-coml
  server: server
  downloads:
    - ue: ue
      repeat: 12
      steps: [{all: true, pause_ms: 300}]
"""


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "testbed", *arguments],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def link_set(home: Path, *arguments: str) -> tuple[int, str]:
    process = start(home, "link", "set", *arguments, "--run", str(home / "out"))
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


@pytest.mark.real_clock
def test_a_slower_link_is_slower_at_once_and_the_events_say_so(tmp_path: Path) -> None:
    (tmp_path / "live.yaml").write_text(EXPERIMENT)
    options = ("--host", "microvm", "--clock", "real", "--out", str(tmp_path / "out"))
    run = start(tmp_path, "run", "live.yaml", *options)
    assert run.stdout
    for line in run.stdout:
        if "asks for" in line:
            break
    assert link_set(tmp_path, "ue-server", "down.rate_mbit=1.5") == (
        0,
        "ue to server: 8 Mbit/s, 10 ms, 0 % loss\nserver to ue: 1.5 Mbit/s, 10 ms, 0 % loss\n",
    )
    status, told = link_set(tmp_path, "ue-moon", "rate_mbit=1")
    assert status == 2 and "link 'ue-moon' is not known; known are ue-server" in told
    status, told = link_set(tmp_path, "ue-server", "jitter_ms=99")
    assert status == 2 and "jitter_ms (99) must not exceed delay_ms (10)" in told
    run.stdout.read()
    run.wait()

    status, told = link_set(tmp_path, "ue-server", "rate_mbit=1")
    assert status == 2 and "the run is over" in told
    events = list(read_events(tmp_path / "out/events.jsonl"))
    (changed,) = (event for event in events if isinstance(event, LinkChanged))
    assert (changed.direction, changed.rate_mbit) == ("b_to_a", 1.5)
    refusals = [event.refusal for event in events if isinstance(event, LinkCommanded)]
    assert refusals[0] is None and "jitter_ms" in str(refusals[1])

    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["problems"] == []
    downloads = summary["accordion"]["downloads"]
    asked_ns = [event.t_ns for event in events if isinstance(event, ModelRequested)]
    took_ms = [one["duration_ms"] for one in downloads]
    asked_later = [t_ns > changed.t_ns for t_ns in asked_ns]
    slow_ms = [ms for ms, later in zip(took_ms, asked_later, strict=True) if later]
    # A machine that stands still makes downloads longer, never shorter.
    line_ms = downloads[-1]["end_byte"] * 8 / 1.5e3 * 1514 / 1448
    assert min(slow_ms) == pytest.approx(line_ms, rel=0.1)
    assert min(took_ms) < line_ms / 2, "none came before the change"


def test_a_change_on_the_virtual_clock_belongs_to_the_run_and_repeats_with_it(
    tmp_path: Path, kernel: GuestKernel
) -> None:
    (tmp_path / "live.yaml").write_text(EXPERIMENT)
    options = ("--clock", "virtual", "--pace", "0.3", "--out", str(tmp_path / "out"))
    run = start(tmp_path, "run", "live.yaml", *options)
    assert run.stdout
    for line in run.stdout:
        if "asks for" in line:
            break
    status, told = link_set(tmp_path, "ue-server", "down.rate_mbit=1.5")
    assert status == 0, told
    run.stdout.read()
    assert run.wait() == 0
    (changed,) = (
        e for e in read_events(tmp_path / "out/events.jsonl") if isinstance(e, LinkChanged)
    )
    assert changed.late_ms < 1
    again = start(tmp_path, "repeat", str(tmp_path / "out"))
    told, _ = again.communicate(timeout=200)
    assert again.returncode == 0 and "identical: " in told, told


def test_a_run_that_keeps_its_own_time_refuses_changes_and_says_what_helps(
    tmp_path: Path, kernel: GuestKernel
) -> None:
    (tmp_path / "live.yaml").write_text(EXPERIMENT.replace("repeat: 12", "repeat: 400"))
    out = tmp_path / "out"
    run = start(tmp_path, "run", "live.yaml", "--clock", "virtual", "--out", str(out))
    try:
        until(lambda: (out / "plan.json").exists() and goes_on(out), 120)
        status, told = link_set(tmp_path, "ue-server", "rate_mbit=1")
        assert status == 2 and "start it with --pace 1" in told
    finally:
        run.terminate()
        run.communicate()
