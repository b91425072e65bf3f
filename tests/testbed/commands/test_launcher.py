"""The launcher, in a small repository of its own, whose program echoes how it was called.

Python's venv and pip, apt-get and sudo are played by scripts; that the real ones work is seen
wherever `concertina test` runs these tests.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from stage_node.repository import REPOSITORY

PROGRAM = Path(__file__).with_name("programs") / "echo.py"
PYTHON = shlex.quote(sys.executable)  # a checkout may lie at a path with blanks
# Makes a virtual environment whose Python takes its time for pip, and else is this one.
PLAYED_PYTHON = f"""
if [ "$1 $2" != "-m venv" ]; then exec {PYTHON} "$@"; fi
mkdir -p "$3/bin"
cat > "$3/bin/python" <<'END'
#!/bin/sh
if [ "$1 $2" != "-m pip" ]; then exec {PYTHON} "$@"; fi
echo "$*" >> "$(dirname "$0")/../../pip-calls"
sleep 0.5
END
chmod +x "$3/bin/python"
"""
PROGRAMS = ("mnexec", "linux.uml", "modprobe", "ip", "tc", "tcpdump", "ethtool", "ping", "iperf3")
SHELL_TOOLS = (
    *("sh", "dirname", "readlink", "cmp", "flock", "rm", "cp", "mv", "id", "tr", "sort", "env"),
    *("sleep", "cat", "chmod", "mkdir"),
)


@dataclass(frozen=True)
class House:
    """A copy of the launcher, and the only programs it can find."""

    root: Path
    bin: Path

    def start(self, *arguments: str, cwd: Path | None = None, launcher: Path | None = None):
        return subprocess.run(
            [launcher or self.root / "concertina", *arguments],
            cwd=cwd or self.root.parent,
            env={"PATH": str(self.bin), "CONCERTINA_PYTHON": "python3"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
        )

    def provide(self, name: str, script: str = "exit 0") -> None:
        program = self.bin / name
        program.unlink(missing_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def pip_calls(self) -> list[str]:
        calls = self.root / "pip-calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def ready(self) -> "House":
        """A finished set-up, without making one: this Python plays the virtual environment."""
        (self.root / ".venv" / "bin").mkdir(parents=True)
        (self.root / ".venv" / "bin" / "python").symlink_to(sys.executable)
        shutil.copy(self.root / "requirements.lock", self.root / ".venv")
        return self


@pytest.fixture
def house(tmp_path) -> House:
    house = House(tmp_path / "a house", tmp_path / "bin")
    (house.root / "testbed").mkdir(parents=True)
    shutil.copy(PROGRAM, house.root / "testbed" / "__main__.py")
    (house.root / "requirements.lock").write_text("# no packages\n")
    shutil.copytree(REPOSITORY / "provision", house.root / "provision")
    shutil.copy(REPOSITORY / "concertina", house.root)
    house.bin.mkdir()
    for tool in SHELL_TOOLS:
        (house.bin / tool).symlink_to(shutil.which(tool))
    for program in PROGRAMS:
        house.provide(program)
    house.provide("python3", PLAYED_PYTHON)
    house.provide("timeout", "exit 124")  # PyTorch's index does not answer
    return house


@pytest.mark.real_clock
def test_the_first_start_sets_up_and_later_ones_only_run(house):
    first = house.start("demo", "--out", "x y")
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"program demo --out x y in {house.root.parent}\n"
    assert "set-up done" in first.stderr
    (pip,) = house.pip_calls()
    assert pip.endswith(f"install --quiet --no-compile -r {house.root}/requirements.lock")

    took_s = []
    for _ in range(3):
        begin = time.monotonic()
        later = house.start("demo", "--out", "x y")
        took_s.append(time.monotonic() - begin)
        assert (later.stdout, later.stderr) == (first.stdout, "")
    assert min(took_s) < 1
    assert len(house.pip_calls()) == 1


def test_a_changed_lock_file_is_installed_into_the_same_environment(house):
    house.start("demo")
    (house.root / "requirements.lock").write_text("# another\n")
    changed = house.start("demo")
    assert "updating" in changed.stderr and "setting up" not in changed.stderr
    assert len(house.pip_calls()) == 2
    assert house.start("demo").stderr == ""


def test_pytorchs_own_index_is_used_when_it_answers(house):
    house.provide("timeout", "exit 0")
    house.start("demo")
    assert "--extra-index-url=https://download.pytorch.org/whl/cpu -r" in house.pip_calls()[0]


def test_it_runs_from_anywhere_through_a_symlink_whatever_lies_there(house, tmp_path):
    house.ready()
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "testbed").mkdir(parents=True)
    (elsewhere / "testbed" / "__main__.py").write_text("print('an impostor')")
    link = tmp_path / "link"
    link.symlink_to(house.root / "concertina")
    assert house.start("run", "a.yaml", cwd=elsewhere, launcher=link).stdout == (
        f"program run a.yaml in {elsewhere}\n"
    )


def test_two_launchers_set_up_once(house):
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: house.start("demo"), range(2)))
    assert [result.returncode for result in results] == [0, 0]
    assert "".join(result.stderr for result in results).count("waiting for another set-up") == 1
    assert len(house.pip_calls()) == 1


def test_an_interrupted_set_up_is_done_anew(house):
    launcher = subprocess.Popen(
        [house.root / "concertina", "demo"],
        env={"PATH": str(house.bin), "CONCERTINA_PYTHON": "python3"},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # Tests that run in the background of a shell have it ignored, and their children with them.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 20
    while not house.pip_calls() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(launcher.pid, signal.SIGINT)
    assert launcher.wait() != 0
    assert (house.root / ".venv" / "bin" / "python").exists()

    again = house.start("demo")
    assert "setting up" in again.stderr
    assert again.stdout.startswith("program demo")
    assert len(house.pip_calls()) == 2


def test_a_user_without_sudo_gets_the_exact_command(house):
    house.ready()
    house.provide("id", "echo 1000")
    house.provide("apt-get", "exit 100")
    for missing in ("mnexec", "linux.uml"):
        (house.bin / missing).unlink()
    result = house.start("demo")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "apt-get install -y --no-install-recommends mininet user-mode-linux" in result.stderr
    assert "as root, run: apt-get update && " in result.stderr


def test_sudo_is_used_for_apt_get_alone_and_announced_first(house):
    house.ready()
    house.provide("id", "echo 1000")
    house.provide("sudo", 'echo "sudo $*" >&2; while [ "$1" != apt-get ]; do shift; done; "$@"')
    house.provide("apt-get", "exit 0")
    (house.bin / "mnexec").unlink()
    result = house.start("demo")
    announced, command, *used = result.stderr.splitlines()
    assert announced == "concertina: installing system packages: mininet"
    assert "sudo -n apt-get install -y --no-install-recommends mininet" in command
    assert used == [
        "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get update -qq",
        "sudo -n env DEBIAN_FRONTEND=noninteractive "
        "apt-get install -y --no-install-recommends mininet -qq",
    ]
    assert result.stdout.startswith("program demo")


def test_a_refused_installation_ends_with_the_exact_command(house):
    house.ready()
    house.provide("id", "echo 0")
    house.provide("apt-get", "exit 100")
    (house.bin / "linux.uml").unlink()
    result = house.start("test")
    assert result.returncode == 1
    assert "apt-get install -y --no-install-recommends user-mode-linux" in result.stderr
    assert result.stderr.splitlines()[-1] == (
        "concertina: 'test' needs the system packages named above"
    )


@pytest.mark.parametrize("command", ["doctor", "report", "profiles", "--help"])
def test_commands_that_emulate_nothing_need_no_system_packages(house, command):
    house.ready()
    (house.bin / "mnexec").unlink()
    result = house.start(command)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_python_that_is_too_old_is_refused(house):
    house.provide("python3", "exit 1")
    result = house.start("demo")
    assert result.returncode == 1
    assert "python3 is not a Python 3.11 or newer" in result.stderr
    assert not (house.root / ".venv").exists()


KERNEL_PACKAGES = {
    "gcc": "gcc",
    "make": "make",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "tar": "tar",
    "xz": "xz-utils",
    "bzip2": "bzip2",
    "awk": "mawk",
    "strip": "binutils",
}


def provision(house: House, *arguments: str) -> subprocess.CompletedProcess[str]:
    return house.start(*arguments, launcher=house.root / "provision" / "system-packages")


def test_what_a_kernels_build_misses_is_named_and_nothing_installed(house):
    house.provide("apt-get", "echo called >&2")
    missing = provision(house, "--kernel", "--missing")
    assert missing.stdout.split() == sorted({*KERNEL_PACKAGES.values(), "libc6-dev"})
    assert missing.stderr == ""
    for program in KERNEL_PACKAGES:
        house.provide(program)
    assert provision(house, "--kernel", "--missing").stdout == ""
    house.provide("gcc", "exit 1")  # finds no stdio.h
    assert provision(house, "--kernel", "--missing").stdout == "libc6-dev\n"


def test_a_kernels_build_gets_its_own_packages(house):
    for program in KERNEL_PACKAGES:
        house.provide(program)
    for program in ("flex", "mnexec"):
        (house.bin / program).unlink()
    house.provide("id", "echo 0")
    house.provide("apt-get", 'echo "apt-get $*"')
    result = provision(house, "--kernel")
    assert result.returncode == 0
    assert "installing system packages: flex\n" in result.stderr
    assert "apt-get install -y --no-install-recommends flex -qq" in result.stderr


def test_package_lists_alone_are_fetched_by_sudo_for_apt_get_alone(house):
    house.provide("id", "echo 1000")
    house.provide("sudo", 'echo "sudo $*"')
    house.provide("apt-get")
    result = provision(house, "--lists")
    command, *used = result.stderr.splitlines()
    assert command == "concertina: running: sudo -n apt-get update"
    assert used == ["sudo -n env DEBIAN_FRONTEND=noninteractive apt-get update -qq"]


def test_an_unknown_option_of_the_provisioning_is_refused(house):
    result = provision(house, "--everything")
    assert (result.returncode, result.stderr) == (2, "concertina: no such option: --everything\n")
