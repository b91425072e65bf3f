"""A run directory is fresh, and remembers what is needed to repeat the run."""

from pathlib import Path

import pytest

from stage_node.records.machine import MachineRecord
from stage_node.records.manifest import ManifestRecord
from testbed.errors import BadExperimentError
from testbed.run.directory import complete_manifest, create_run_directory
from testbed.run.manifest import clock_pair, describe_code, describe_machine, describe_software
from tests.testbed.run.manifests import a_manifest


def test_a_run_directory_is_named_after_time_and_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = create_run_directory("a b/c", None)
    second = create_run_directory("a b/c", None)
    assert first.path != second.path
    assert first.path.parent == tmp_path / "runs"
    assert first.path.name.endswith("-a-b-c")
    assert first.events.read_text() == ""


def test_out_must_be_fresh(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").touch()
    with pytest.raises(BadExperimentError, match="not an empty directory"):
        create_run_directory("x", tmp_path / "old")
    assert create_run_directory("x", tmp_path / "new").path == tmp_path / "new"


def test_the_manifest_takes_over_what_the_emulation_says(tmp_path: Path) -> None:
    run = create_run_directory("x", tmp_path / "run")
    a_manifest(code=describe_code(), software=describe_software()).write(run.manifest)
    before = ManifestRecord.read(run.manifest)
    complete_manifest(run)
    assert ManifestRecord.read(run.manifest) == before, "there was no emulation"
    told = MachineRecord(machine=describe_machine(), clock=(clock_pair(), clock_pair()))
    told.write(run.machine)
    complete_manifest(run)
    after = ManifestRecord.read(run.manifest)
    assert after == before.completed(told)
    assert after.software and after.software.packages["pydantic"]
    assert after.machine and after.machine.cpus >= 1


def test_the_clocks_are_read_at_one_moment() -> None:
    first, second = clock_pair(), clock_pair()
    monotonic = second.monotonic_ns - first.monotonic_ns
    realtime = second.realtime_ns - first.realtime_ns
    assert monotonic > 0
    assert abs(monotonic - realtime) < 5_000_000
