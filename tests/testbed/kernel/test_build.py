"""Building the guest's kernel: what is made, what is left, and what a user is told.

The programs are played by scripts (``played_kernel``); that the real ones work is seen wherever
the tests that boot a guest on the virtual clock run.
"""

import hashlib
import io
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from rich.console import Console

from testbed.errors import KernelUnavailableError
from testbed.kernel.build import build_kernel, ensure_kernel
from testbed.kernel.cache import find_kernel
from tests.testbed.kernel.played_kernel import (
    COMPILE,
    CONFIGURATION,
    DOWNLOAD,
    OLD_PACKAGE,
    PACKAGE,
    Workplace,
    kernel_script,
    make_workplace,
)

HANGING_COMPILE = 'sleep 1000 & echo $! > "{pid}"; echo "  CC begun"; wait'


@pytest.fixture
def place(tmp_path, monkeypatch) -> Workplace:
    return make_workplace(tmp_path, monkeypatch)


def build(place: Workplace, again: bool = False) -> str:
    said = io.StringIO()
    build_kernel(Console(file=said, width=500), again)
    return said.getvalue()


def test_a_cache_at_a_path_with_blanks_gets_its_kernel_too(place, tmp_path, monkeypatch):
    cache = tmp_path / "a user's cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    assert "kernel 6.12.117 built in" in build(place)
    kernel = find_kernel()
    assert kernel is not None and kernel.folder.is_relative_to(cache)


def test_a_kernel_is_built_once_and_only_what_serves_is_kept(place):
    said = build(place)
    assert "from linux-source-6.12, once, about" in said and "kernel 6.12.117 built in" in said
    kernel = find_kernel()
    assert kernel is not None
    assert (kernel.version, kernel.origin) == ("6.12.117", "built")
    assert kernel.executable.read_text() == kernel_script()
    assert kernel.sha256 == hashlib.sha256(kernel.executable.read_bytes()).hexdigest()
    assert kernel.configuration.read_text().strip() == CONFIGURATION
    assert kernel.preload.is_file()
    assert kernel.folder.name == f"6.12.117-{kernel.configuration_hash[:12]}"
    left = sorted(path.name for path in place.kernels.iterdir())
    assert left == sorted([kernel.folder.name, "build.log", "lock"])

    assert build(place) == ""
    assert ensure_kernel(Console(file=io.StringIO())) == kernel
    assert len(place.calls("make")) == 2  # configured and compiled


def test_a_build_is_an_ordinary_users_on_all_processors(place):
    build(place)
    assert place.calls("sudo") == []
    assert [call.split()[1] for call in place.calls("apt-get")] == ["download"]
    configured, compiled = place.calls("make")
    assert "ARCH=um" in configured and "KCONFIG_ALLCONFIG=" in configured
    assert f"-j{len(os.sched_getaffinity(0))} linux" in compiled


def test_built_again_it_takes_the_place_of_the_old_one(place):
    build(place)
    place.compiles_by(f"cat > linux <<'END'\n{kernel_script()}# fresh\nEND")
    assert "built in" in build(place, again=True)
    kernel = find_kernel()
    assert kernel is not None and kernel.executable.read_text().endswith("# fresh\n")
    assert place.left_over() == []


def test_an_installed_source_is_not_downloaded(place):
    (place.root / "usr" / "src" / "linux-source-6.12.tar.xz").touch()
    build(place)
    assert place.calls("apt-get") == []
    assert str(place.root / "usr" / "src") in place.calls("tar")[0]


def test_absent_package_lists_are_fetched(place):
    lists = place.root / "lists"
    place.provide("apt-cache", f"cat {lists} 2>/dev/null")
    place.provide("sudo", 'while [ "$1" != apt-get ]; do shift; done; "$@"')
    update = f"echo '{PACKAGE}' > {lists}"
    place.provide("apt-get", f"case $1 in update) {update} ;; *) {DOWNLOAD} ;; esac")
    assert "built in" in build(place)
    assert [call.split()[1] for call in place.calls("apt-get")] == ["update", "download"]


def test_a_distribution_with_old_kernels_only_is_told_what_would_help(place):
    place.provide("apt-cache", f"echo '{OLD_PACKAGE}'")
    with pytest.raises(KernelUnavailableError, match=r"from 6\.6 on here; .*kernel use FILE"):
        build(place)
    assert place.calls("make") == []


def test_a_package_that_is_missing_and_cannot_be_installed_is_named(place):
    (place.bin / "flex").unlink()
    place.provide("sudo", "exit 1")
    place.provide("apt-get", "exit 100")
    with pytest.raises(KernelUnavailableError, match=r"sudo apt-get install flex$"):
        build(place)
    assert place.calls("make") == []


def test_a_package_that_does_not_download_is_told_in_apts_words(place):
    place.provide("apt-get", 'echo "E: Failed to fetch http://x"; exit 100')
    with pytest.raises(KernelUnavailableError, match="apt-get failed: E: Failed to fetch"):
        build(place)
    assert place.left_over() == []


def test_too_little_space_is_found_before_anything_starts(place, monkeypatch):
    usage = shutil.disk_usage(place.root)._replace(free=600_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(KernelUnavailableError, match=r"0\.6 GB free in .*XDG_CACHE_HOME=DIR"):
        build(place)
    assert place.calls("apt-get") == []


def test_space_that_runs_out_is_one_line(place):
    place.compiles_by('echo "fatal error: main.o: No space left on device"; exit 2')
    with pytest.raises(KernelUnavailableError) as caught:
        build(place)
    assert str(caught.value).startswith(f"kernel: no space left in {place.kernels}; free some")
    assert place.left_over() == [] and find_kernel() is None


def test_space_that_runs_out_under_our_own_hands_is_the_same_line(place, monkeypatch):
    def full(self: Path, text: str) -> int:
        raise OSError(28, os.strerror(28), str(self))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(KernelUnavailableError, match="no space left in"):
        build(place)


def test_a_compiler_that_fails_is_told_with_its_first_error_and_the_log(place):
    place.compiles_by('echo "  CC a.o"; echo "a.c:1: error: no such thing"; echo "x"; exit 2')
    with pytest.raises(KernelUnavailableError) as caught:
        build(place)
    assert "make failed: a.c:1: error: no such thing; all it said is in" in str(caught.value)
    assert "CC a.o" in (place.kernels / "build.log").read_text()
    assert place.left_over() == [] and find_kernel() is None


def test_a_source_without_time_travel_is_not_compiled(place):
    place.provide("make", "echo CONFIG_UML=y > .config")
    with pytest.raises(KernelUnavailableError, match="cannot have CONFIG_UML_TIME_TRAVEL_SUPPORT"):
        build(place)
    assert len(place.calls("make")) == 1


def test_what_a_killed_build_left_is_deleted_by_the_next(place):
    stale = place.kernels / ".unfinished-killed" / "whole"
    stale.mkdir(parents=True)
    (stale / "kernel.json").write_text("{}")
    assert find_kernel() is None
    build(place)
    assert place.left_over() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_ends_at_once_and_leaves_nothing(place, number):
    pid_file = place.root / "pid"
    place.compiles_by(HANGING_COMPILE.format(pid=pid_file))
    builder = place.start()
    compiler = int(wait_for(pid_file))
    begin = time.monotonic()
    builder.send_signal(number)
    said, _ = builder.communicate(timeout=20)
    assert time.monotonic() - begin < 5
    assert builder.returncode == 128 + number
    assert said.endswith("kernel: interrupted; nothing of the build is left\n")
    assert has_ended(compiler)
    assert place.left_over() == [] and find_kernel() is None

    place.compiles_by(COMPILE)
    assert "built in" in build(place)


def test_two_builders_build_once(place):
    gate = place.root / "gate"
    waiting = f"while [ ! -e {gate} ]; do sleep 0.05; done; "
    place.compiles_by(waiting + COMPILE)
    first = place.start()
    deadline = time.monotonic() + 20
    while len(place.calls("make")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    second = place.start()
    assert second.stdout is not None
    assert "waiting for another build" in second.stdout.readline()
    gate.touch()
    assert [builder.wait(20) for builder in (first, second)] == [0, 0]
    assert second.stdout.read() == "6.12.117\n"
    assert len(place.calls("make")) == 2
    for builder in (first, second):
        builder.communicate()


def wait_for(file: Path) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if file.exists() and (text := file.read_text()).endswith("\n"):
            return text
        time.sleep(0.02)
    raise AssertionError(f"{file} did not come")


def has_ended(pid: int) -> bool:
    """Whether it is gone, or about to be: a killed process may be seen for a moment."""
    stat = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        try:
            if stat.read_text().rpartition(") ")[2][0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False
