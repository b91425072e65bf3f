"""A whole run, as a user calls it: without root, to its report; interrupted; refused.

On the virtual clock; once more on the real one, whose figures a busy machine may spoil.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from scapy.layers.inet import IP, TCP
from scapy.utils import PcapReader

from analysis.compare.identity import captures, packets_of
from stage_node.repository import REPOSITORY
from tests.e2e.conftest import give_kernel
from tests.e2e.hosts.processes import until

pytestmark = pytest.mark.microvm
NOBODY = 65534

EXPERIMENT = """
name: story
network:
  shape: chain
  hosts: [ue, server]
  links: {rate_mbit: 8, delay_ms: 10}
pipeline:
  model: digits-resnet20
  hosts: [ue, server]
  split: {after: [block2_2]}
  batch: 20
  targets: {max_accuracy_loss_points: 2, bandwidth_reduction: 2}
accordion:
  model: digits-resnet20-coml
  server: server
  downloads:
    - ue: ue
      steps: [{deadline_ms: 120}, {all: true}]
"""


@pytest.fixture(scope="module")
def cache() -> Iterator[Path]:
    """The cache of a user without rights: the guest's kernel, and what these tests add to it."""
    directory = Path(tempfile.mkdtemp(prefix="story-cache-"))
    give_kernel(directory)
    give_away(directory)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def home(cache: Path) -> Iterator[Path]:
    """A directory that belongs to that user, and that nobody else can reach."""
    directory = Path(tempfile.mkdtemp(prefix="story-"))
    (directory / "story.yaml").write_text(EXPERIMENT)
    (directory / ".cache").symlink_to(cache)
    give_away(directory)
    yield directory
    shutil.rmtree(directory)


def give_away(directory: Path) -> None:
    """To a user without rights, where we may."""
    if os.geteuid() == 0:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def concertina(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """The program as an unprivileged user would start it in ``home``."""
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    return subprocess.Popen(
        [*(drop if os.geteuid() == 0 else []), sys.executable, "-m", "testbed", *arguments],
        cwd=home,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(home),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_naming(path: Path) -> list[str]:
    """Command lines that still mention a path."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(path) in line:
            lines.append(line)
    return lines


def test_a_run_without_root_is_judged_from_its_captures(home: Path) -> None:
    out = home / "out"
    process = concertina(home, "run", "story.yaml", "--out", str(out))
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "fidelity: pass" in output and str(out / "report.html") in output.replace("\n", "")
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["host"], manifest["clock_kind"], manifest["seed"]) == ("microvm", "virtual", 1)

    summary = json.loads((out / "summary.json").read_text())
    fidelity = summary["fidelity"]
    assert (summary["problems"], fidelity["verdict"], fidelity["reasons"]) == ([], "pass", [])
    assert_everything_worked(out, summary)
    assert_ledger_agrees_with_scapy(out)
    page = (out / "report.html").read_text()
    assert page.index("Fidelity:") < page.index(">Result<") < page.index("data:image/svg")
    assert "virtual clock" in page
    assert len(list((out / "plots").glob("*.svg"))) >= 4
    assert not processes_naming(home)


@pytest.mark.real_clock
def test_a_run_on_the_real_clock_works_as_well_though_a_busy_machine_may_spoil_its_figures(
    home: Path,
) -> None:
    out = home / "out"
    options = ("--host", "microvm", "--clock", "real", "--out", str(out))
    process = concertina(home, "run", "story.yaml", *options)
    output, _ = process.communicate()
    assert process.returncode in (0, 1), output
    summary = json.loads((out / "summary.json").read_text())
    assert_everything_worked(out, summary)
    assert json.loads((out / "manifest.json").read_text())["clock_kind"] == "real"
    assert not processes_naming(home)
    if process.returncode == 1:
        assert "fidelity: fail" in output, output
        pytest.skip(f"inconclusive: the links were disturbed: {summary['fidelity']['reasons']}")
    assert summary["problems"] == []


def assert_everything_worked(out: Path, summary: dict[str, Any]) -> None:
    """What holds on any clock: accuracy, bytes, and that nothing of either was lost."""
    (pipeline,) = summary["pipelines"]
    assert pipeline["frozen_unchanged"] is True
    assert pipeline["target_reached"] is True
    before, after = pipeline["windows"]
    assert after["cuts"][0]["wire_bytes"] < 0.55 * before["cuts"][0]["wire_bytes"]
    assert all(abs(link["qdisc_difference"]) < 0.01 for link in summary["links"])

    first, rest = summary["accordion"]["downloads"]
    assert first["first_byte"] == 0 and first["end_byte"] == rest["first_byte"]
    assert (
        rest["end_byte"]
        == (REPOSITORY / "testbed/checkpoints/digits-resnet20-coml.safetensors").stat().st_size
    )
    accuracies = [one["accuracy"]["value"] for one in summary["accordion"]["configurations"]]
    assert len(accuracies) > 3 and accuracies[-1] > 0.95


def assert_ledger_agrees_with_scapy(out: Path) -> None:
    """What the sending stage wrote down is what scapy sees leave its interface."""
    frames = pl.read_parquet(out / "ledger/frames.parquet")
    sent = frames.filter((pl.col("direction") == "send") & (pl.col("cut") == 0))
    from_ue = sent.filter(pl.col("node") == "ue")
    port = from_ue["local_port"][0]
    seen = []
    first = None
    with PcapReader(str(out / "captures/ue-eth0.pcap")) as packets:
        for packet in packets:
            if TCP not in packet or packet[TCP].sport != port:
                continue
            if packet[TCP].flags.S:
                first = packet[TCP].seq + 1
                continue
            size = packet[IP].len - 4 * packet[IP].ihl - 4 * packet[TCP].dataofs
            begin = packet[TCP].seq - first
            if size:  # after its FIN a sender's empty segments are one further
                seen.append((begin, begin + size))
    covered = 0
    for begin, end in sorted(seen):
        assert begin <= covered, "scapy misses bytes that the ledger counts"
        covered = max(covered, end)
    assert covered == from_ue["end_byte"].max()
    assert from_ue.sort("first_byte")["first_byte"][1:].equals(
        from_ue.sort("first_byte")["end_byte"][:-1], null_equal=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_running_and_all_that_it_recorded(
    home: Path, number: signal.Signals
) -> None:
    paced = ("--pace", "1")  # or it might be over before we look
    process = concertina(home, "run", "story.yaml", *paced, "--out", str(home / "o"))
    events = home / "o/events.jsonl"
    until(lambda: events.exists() and '"iteration"' in events.read_text(), 240)
    process.send_signal(number)
    asked = time.monotonic()
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - asked < 5
    assert process.returncode == 128 + number
    assert "interrupted" in output and "Traceback" not in output
    assert '"teardown"' not in events.read_text()  # ended, not finished
    assert not processes_naming(home)
    frames = pl.read_parquet(home / "o/ledger/frames.parquet")
    assert set(frames["node"]) >= {"ue", "server"}
    assert all(len(list(packets_of(file))) > 100 for file in captures(home / "o"))
    report = concertina(home, "report", "o")
    output, _ = report.communicate(timeout=60)
    assert "in the middle of its phase" in output and (home / "o/report.html").exists()


def test_wrong_input_is_refused_before_anything_starts(home: Path) -> None:
    process = concertina(
        home, "run", "story.yaml", "--set", "network.links.rate_mbit=-1", "--out", str(home / "o")
    )
    output, _ = process.communicate()
    assert process.returncode == 2
    assert "story.yaml: network.links.rate_mbit" in output.replace("\n", "")
    assert not (home / "o").exists()
