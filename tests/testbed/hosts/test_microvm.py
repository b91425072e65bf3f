"""What a guest is told before it boots: its kernel's command line, its mounts, its command."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import HostUnavailableError
from testbed.hosts import guest_boot, microvm
from testbed.hosts.cpu import claim_cpu, own_cpu
from testbed.hosts.guest_boot import (
    BOOT_NS,
    GUEST_ROOT,
    GuestCommand,
    hidden_installation,
    kernel_command,
)
from testbed.hosts.host import output_file


@pytest.fixture(autouse=True)
def code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy of the code lies somewhere; it is not made."""
    monkeypatch.setattr(guest_boot, "code_copy", lambda seen_as, spare: Path("/cache/code/1"))


def told(
    writable: Path, state: Path = Path("/tmp/concertina-guest-x"), **others: Any
) -> dict[str, Any]:
    """What the init of a guest on the virtual clock is told; ``others`` replace fields."""
    ordinary = {
        "command": ["true"],
        "readable": {},
        "env": {},
        "output": writable / "logs/emulation.log",
        "seed": 1,
        "virtual": True,
    }
    return GuestCommand(writable=writable, **ordinary | others).request(state)


def without_sources(request: dict[str, Any]) -> dict[str, Any]:
    """All of it but where on this machine the guest's directories lie."""
    return {**request, "mounts": [(at, writable) for _, at, writable in request["mounts"]]}


names = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=40)
places = st.lists(names.filter(lambda name: name not in (".", "..")), min_size=1, max_size=4).map(
    lambda parts: Path("/", *parts)
)


@given(places, places, places, places)
def test_two_guests_are_told_the_same_but_where_their_directories_lie(
    one: Path, another: Path, state: Path, other_state: Path
) -> None:
    first = told(one, state, readable={"CONCERTINA_DATA": one.parent})
    second = told(another, other_state, readable={"CONCERTINA_DATA": other_state})
    assert without_sources(first) == without_sources(second)


def test_code_python_and_user_are_told_by_the_sources_of_mounts_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = told(Path("/home/ada/run"))
    monkeypatch.setattr(guest_boot, "code_copy", lambda *_: Path("/srv/elsewhere/cache/code/2"))
    monkeypatch.setattr(sys, "prefix", "/opt/another/venv")
    monkeypatch.setenv("HOME", "/home/grace")
    monkeypatch.setenv("USER", "grace")
    there = told(Path("/home/ada/run"))
    assert without_sources(here) == without_sources(there)
    assert here != there


def test_a_kernels_command_line_names_neither_run_nor_state_nor_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Path("/cache/linux")
    line = kernel_command(kernel, 512, virtual=True)
    monkeypatch.setattr("tempfile.tempdir", "/srv/temporary")
    assert kernel_command(kernel, 512, virtual=True) == line
    assert "mem=512M" in line and "ro" in line and "rw" not in line
    assert not any(word.isspace() or " " in word for word in line)
    own_words = [word for word in line[1:] if "/" in word and "/proc/self/cwd" not in word]
    assert own_words == ["root=/dev/root", "rootflags=/", "uml_dir=./"]


def test_only_the_virtual_clock_travels_and_begins_at_a_moment_of_its_own() -> None:
    virtual, real = (kernel_command(Path("linux"), 512, clock) for clock in (True, False))
    more = [word for word in virtual if word not in real]
    assert more == ["time-travel=inf-cpu", f"time-travel-start={BOOT_NS}", "norandmaps"]
    assert [word for word in virtual if word in real] == real


def test_only_the_run_and_the_state_can_be_written_in_the_guest(tmp_path: Path) -> None:
    request = told(tmp_path, readable={"CONCERTINA_DATA": tmp_path / "data"})
    places = {at: (source, writable) for source, at, writable in request["mounts"]}
    assert {at for at, (_, writable) in places.items() if writable} == {
        str(GUEST_ROOT / "run"), str(GUEST_ROOT / "state")
    }  # fmt: skip
    assert places[str(GUEST_ROOT / "run")][0] == str(tmp_path)
    assert places[request["env"]["CONCERTINA_DATA"]] == (str(tmp_path / "data"), False)


def test_a_python_that_lies_where_the_guest_has_its_own_directories_is_mounted_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/opt/python")
    monkeypatch.setattr(sys, "executable", "/tmp/python/bin/python")
    assert hidden_installation() == [("/tmp/python/bin", "/tmp/python/bin", False)]


def test_the_command_its_environment_and_its_output_reach_the_guest_and_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRET", "not for the guest")
    command = ["sh", "-c", 'echo "a  b" $GREETING']
    request = told(tmp_path, command=command, env={"GREETING": "hello"}, output=tmp_path / "a.log")
    assert request["command"] == command
    assert request["cwd"] == str(GUEST_ROOT / "run")
    assert request["output"] == str(GUEST_ROOT / "run/a.log")
    assert request["env"]["GREETING"] == "hello"
    assert "SECRET" not in request["env"]


def test_the_seed_is_in_the_environment_of_the_guests_processes(tmp_path: Path) -> None:
    same, again, other = (told(tmp_path, seed=seed)["env"] for seed in (2**33 + 5, 2**33 + 5, 6))
    assert same == again
    changed = {name for name in same if same[name] != other[name]}
    assert changed == {"CONCERTINA_SEED", "PYTHONHASHSEED"}
    assert (same["CONCERTINA_SEED"], same["PYTHONHASHSEED"]) == ("8589934597", "5")


def test_the_distributions_kernel_loads_modules_and_the_virtual_clocks_has_them(
    tmp_path: Path,
) -> None:
    assert told(tmp_path, virtual=True)["modules"] == []
    assert "sch_netem" in told(tmp_path, virtual=False)["modules"]


def test_output_goes_below_the_writable_directory_or_nowhere(tmp_path):
    assert output_file(None, tmp_path) == tmp_path / "logs" / "emulation.log"
    assert (tmp_path / "logs").is_dir()
    with pytest.raises(ValueError, match="not below the writable directory"):
        output_file(tmp_path.parent / "elsewhere.log", tmp_path)


def test_the_guests_memory_lies_where_there_is_room(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    usage = shutil.disk_usage(tmp_path)._replace
    room = {"/dev/shm": 64 << 20, str(tmp_path): 10 << 30}
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(free=room[str(path)]))
    monkeypatch.setattr("os.access", lambda path, mode: str(path) in room)
    assert microvm.memory_directory(32) == Path("/dev/shm")
    assert microvm.memory_directory(3072) == tmp_path
    with pytest.raises(HostUnavailableError, match="has 20480 MiB free"):
        microvm.memory_directory(20480)


def test_guests_share_a_cpu_only_when_every_cpu_has_one(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {901, 902})
    claims = [claim_cpu() for _ in range(4)]
    try:
        assert [cpu for cpu, _ in claims] == [902, 901, 902, 901]
        claims[1][1].close()
        again, claim = claim_cpu()
        claim.close()
        assert again == 901
    finally:
        for _, claim in claims:
            claim.close()


def test_a_guest_takes_the_cpu_that_fewest_have_whoever_came_first(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {903, 904})
    first, second, third = (claim_cpu() for _ in range(3))
    assert [cpu for cpu, _ in (first, second, third)] == [904, 903, 904]
    first[1].close()
    second[1].close()
    with third[1]:  # the second that came to 904 is alone there now, and 903 is empty
        cpu, claim = claim_cpu()
        claim.close()
        assert cpu == 903


def test_a_cpu_of_ones_own_is_waited_for_and_not_shared(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {905, 906})
    monkeypatch.setattr("testbed.hosts.cpu.WAIT_S", 0)
    asked = []

    def patience() -> bool:
        asked.append(1)
        return len(asked) > 3

    with own_cpu() as one, own_cpu() as other:
        assert {one, other} == {905, 906}
        with own_cpu(patience) as none_left:
            assert none_left is None and len(asked) == 4
    cpu, guest = claim_cpu()
    with guest, own_cpu() as one:
        assert {cpu, one} == {905, 906}


def test_a_machine_without_the_kernel_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostUnavailableError, match="apt-get install user-mode-linux"):
        microvm.MicroVm().run(["true"], writable=tmp_path)
