"""The same seed gives the same captures, whatever else the machine does.

Three runs, each made once and repeated under five conditions of the machine; ``concertina test
--identity N`` repeats each N times. Another seed must differ, and what we let leak on purpose must
be found. The hashes of times, lengths and headers are committed, so that another machine can say
whether it agrees with the one that they were made on.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.compare.identity import fingerprint, first_difference
from stage_node.repository import REPOSITORY
from testbed.commands.checks import IDENTITY_REPEATS
from testbed.kernel.cache import find_kernel
from tests.e2e.conftest import PROGRAMS
from tests.e2e.identity import golden
from tests.e2e.identity.conditions import CONDITIONS, quiet, repeat
from tests.e2e.identity.golden import run

EXPERIMENTS = ("split-loop", "lossy-download", "control")
REPEATS = -(-int(os.environ.get(IDENTITY_REPEATS, "6")) // len(EXPERIMENTS))
"""Repeats of each run; condition after condition."""

pytestmark = [
    pytest.mark.microvm,
    pytest.mark.skipif(find_kernel() is None, reason="no kernel with a virtual clock here"),
    pytest.mark.timeout(120 * (REPEATS + 2)),
]


def of_one(name: str) -> pytest.MarkDecorator:
    """Tests of the same run go to the same worker, which makes it once."""
    return pytest.mark.xdist_group(name)


each_run = pytest.mark.parametrize("name", [pytest.param(n, marks=of_one(n)) for n in EXPERIMENTS])


class FirstRuns(dict[str, Path]):
    """Each experiment run once, when it is first asked for."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self._place = place

    def __missing__(self, name: str) -> Path:
        self[name] = run(name, self._place / name)
        return self[name]


@pytest.fixture(scope="module")
def first_runs(tmp_path_factory: pytest.TempPathFactory) -> FirstRuns:
    return FirstRuns(tmp_path_factory.mktemp("first"))


@each_run
def test_a_run_repeats_under_every_condition_of_the_machine(first_runs, name):
    begin = EXPERIMENTS.index(name)  # so that few repeats see all conditions, too
    for number in range(REPEATS):
        condition = CONDITIONS[(begin * REPEATS + number) % len(CONDITIONS)]
        repeated = condition(first_runs[name])
        assert repeated.status == 0, f"{condition.__name__}: {repeated.said}"
        assert "identical: " in repeated.said


@each_run
def test_another_seed_is_another_sample(first_runs, name, tmp_path):
    other = run(name, tmp_path / "other", "--seed", "8")
    assert first_difference(first_runs[name], other) is not None


@each_run
def test_this_machine_agrees_with_the_one_that_the_hashes_were_made_on(first_runs, name):
    if name in golden.CHARGED_BY_THIS_MACHINE:
        pytest.skip("its devices are charged by a table that each machine measures for itself")
    known, here = golden.known(), golden.made_with()
    if here not in known:
        pytest.skip(f"no hashes are known for {here}; there are: {'; '.join(known)}")
    ours, theirs = fingerprint(first_runs[name]), known[here][name]
    assert ours.headers_sha256 == theirs.headers_sha256, (
        "other packets than the committed ones; if the code is meant to change them, or asks for "
        "the time once more: python -m tests.e2e.identity.golden"
    )
    assert ours == theirs, "times, lengths and headers agree, payloads do not: torch adds otherwise"


@of_one("lossy-download")
@pytest.mark.parametrize("leak", ["unseeded_entropy", "path_on_command_line"])
def test_what_leaks_into_the_guest_is_found(first_runs, leak):
    program = PROGRAMS / "identity" / f"{leak}.py"
    done = subprocess.run(
        [sys.executable, str(program), "repeat", str(first_runs["lossy-download"])],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "different: packet" in done.stdout


@of_one("lossy-download")
def test_a_computing_time_that_was_measured_anew_is_found(first_runs, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(first_runs["lossy-download"], copy)
    plan = json.loads((copy / "plan.json").read_text())
    (ue,) = (job for job in plan["phases"][0]["jobs"] if job["name"] == "ue-ue")
    taken_ms = ue["arguments"]["inference_ms"]
    ue["arguments"]["inference_ms"] = {name: 1.01 * ms for name, ms in taken_ms.items()}
    (copy / "plan.json").write_text(json.dumps(plan))
    assert quiet(copy).status == 1


@of_one("lossy-download")
def test_a_difference_is_shown_from_both_runs(first_runs, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(first_runs["lossy-download"], copy)
    capture = copy / "captures" / "ue-eth0.pcap"
    content = bytearray(capture.read_bytes())
    content[24 + 16 + 20] ^= 1  # within the first packet
    capture.write_bytes(content)
    repeated = repeat(copy)
    assert repeated.status == 1
    assert "different: packet 1 of ue-eth0.pcap" in repeated.said
    assert "first run:" in repeated.said and "second run:" in repeated.said
