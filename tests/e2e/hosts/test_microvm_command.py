"""A command in the microVM: its status, its files, its network, its neighbours."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stage_node.repository import REPOSITORY
from testbed.hosts.environment import PACKAGES
from testbed.hosts.guest_boot import CODE, RUN
from tests.e2e.conftest import PROGRAMS, give_kernel, virtual_host
from tests.e2e.hosts.processes import is_kernel, until

pytestmark = pytest.mark.microvm
NOBODY = 65534

SHAPED_PING = """
set -e
ip netns add a
ip link add name here type veth peer name there netns a
ip addr add 10.9.0.1/24 dev here && ip link set here up
ip -n a addr add 10.9.0.2/24 dev there && ip -n a link set there up
tc qdisc add dev here root netem rate 10mbit delay 40ms
ping -c 3 -i 0.1 10.9.0.2
exit 7
"""


def test_the_command_is_root_on_a_kernel_with_netem_and_its_status_comes_back(virtual_guest):
    result = virtual_guest.run("sh", "-c", f"id -u; {SHAPED_PING}")
    assert result.status == 7
    assert result.output.splitlines()[0] == "0"
    rtt_min_ms = float(result.output.rsplit("= ", 1)[1].split("/")[0])
    assert rtt_min_ms == pytest.approx(40 + 98 * 8 / 10e3, abs=0.005)  # 98 bytes at 10 Mbit/s


def test_packets_are_passed_on_before_anybody_computes(virtual_guest):
    assert virtual_guest.program("hosts/packet_priority.py").output == "True\n"


def test_only_the_run_directory_can_be_written(virtual_guest, tmp_path):
    outside = tmp_path / "precious.txt"
    outside.write_text("as it was")
    (virtual_guest.directory / "given.txt").write_text("given")
    result = virtual_guest.program("hosts/write_everywhere.py", str(outside))
    assert result.status == 0
    assert result.output.splitlines() == [
        *["Read-only file system"] * 3, f"False {RUN} {CODE}"
    ]  # fmt: skip
    assert (virtual_guest.directory / "new, made.txt").read_text() == "given and taken"
    assert not (virtual_guest.directory / "given.txt").exists()
    assert not Path("/tmp/scratch").exists()
    assert outside.read_text() == "as it was"


def test_two_guests_run_at_once_on_different_cpus_if_there_are_two(tmp_path, monkeypatch):
    # whatever other guests this machine has at the moment
    monkeypatch.setattr("testbed.hosts.cpu.CLAIMS", str(tmp_path)[-60:])

    def run(name: str) -> tuple[int, int, int]:
        directory = tmp_path / name
        directory.mkdir()
        command = ["sh", "-c", 'echo "$GREETING" > said; no-such-program']
        with virtual_host().start(command, writable=directory, env={"GREETING": name}) as running:
            kernel = _kernel_process(running)
            allowed = os.sched_getaffinity(kernel)
            return running.cpu, running.wait(), min(allowed) if len(allowed) == 1 else -1

    with ThreadPoolExecutor() as pool:
        guests = list(pool.map(run, ("first", "second")))
    assert [status for _, status, _ in guests] == [127, 127]
    assert all(cpu == pinned for cpu, _, pinned in guests)
    assert len({cpu for cpu, _, _ in guests}) == min(2, len(os.sched_getaffinity(0)))
    for name in ("first", "second"):
        assert (tmp_path / name / "said").read_text() == f"{name}\n"
        assert "no-such-program" in (tmp_path / name / "logs" / "emulation.log").read_text()


@pytest.fixture
def strangers_place() -> Iterator[Path]:
    """A copy of the testbed that belongs to an unprivileged user, at an awkward path in /tmp."""
    place = Path(tempfile.mkdtemp(prefix="a stranger's, "))
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, place / package)
    shutil.copy(PROGRAMS / "hosts" / "become_root.py", place)
    (place / "run").mkdir()
    give_kernel(place / "cache")
    if os.geteuid() == 0:
        for path in (place, *place.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    yield place
    shutil.rmtree(place)


def test_an_unprivileged_user_becomes_root_in_the_guest(strangers_place):
    run = strangers_place / "run"
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    done = subprocess.run(
        [*(as_nobody if os.geteuid() == 0 else []), sys.executable, "become_root.py"],
        cwd=strangers_place,
        env={
            "PATH": os.environ["PATH"],
            "TMPDIR": str(run),
            "XDG_CACHE_HOME": str(strangers_place / "cache"),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    user, status = done.stdout.split()
    assert int(user) != 0
    assert status == "0"
    assert (run / "logs" / "emulation.log").read_text().split() == ["0", "made"]
    assert sorted(path.name for path in run.iterdir()) == ["logs", "made-in-guest"]


def _kernel_process(running) -> int:
    """The first process of a running guest: the only child of its supervisor."""
    supervisor = running._supervisor.pid
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children")

    def kernels() -> list[int]:
        return [child for child in map(int, children.read_text().split()) if is_kernel(child)]

    until(kernels, 60)
    return kernels()[0]
