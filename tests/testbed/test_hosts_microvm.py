"""What a guest is told before it boots: its kernel's command line, its mounts, its command."""

import os
import shlex
import shutil
from pathlib import Path

import pytest

from testbed.errors import HostUnavailableError
from testbed.hosts import microvm
from testbed.hosts.cpu import claim_cpu, own_cpu
from testbed.hosts.host import output_file


def test_what_the_guest_sees_anyway_is_not_mounted_again():
    mounts = microvm.guest_mounts(Path("/home/ada/runs/1"), [Path("/home/ada"), Path("/opt/venv")])
    assert mounts == [("/home/ada/runs/1", True)]


def test_what_lies_below_the_guests_own_scratch_space_is_mounted_read_only_outer_first():
    repository, data = Path("/tmp/concertina"), Path("/var/tmp/data")
    mounts = microvm.guest_mounts(repository / "runs/1", [data, repository, data])
    assert mounts == [
        ("/tmp/concertina", False),
        ("/var/tmp/data", False),
        ("/tmp/concertina/runs/1", True),
    ]


def test_the_run_directory_stays_writable_when_it_is_also_asked_to_be_readable():
    assert microvm.guest_mounts(Path("/tmp/run"), [Path("/tmp/run")]) == [("/tmp/run", True)]


def test_a_folder_that_is_absent_here_is_not_mounted(tmp_path):
    run, data, absent = (tmp_path / name for name in ("run", "data", "absent"))
    run.mkdir()
    data.mkdir()
    request = microvm.guest_request(["true"], run, [data, absent], {}, tmp_path / "a.log")
    mounted = [path for path, _ in request["mounts"]]
    assert str(data) in mounted and str(absent) not in mounted


def test_paths_with_blanks_stay_one_word_on_the_kernels_command_line():
    command = microvm.kernel_command("/usr/bin/linux.uml", Path("/tmp/it's here"), 512)
    line = " ".join(command)
    own, _, for_init = line.partition(" -- ")
    assert "mem=512M" in own.split()
    assert "ro" in own.split() and "rw" not in own.split()
    assert shlex.split(for_init)[-1] == "/tmp/it's here/request.json"


def test_the_command_the_environment_and_the_working_directory_reach_the_guest(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "not for the guest")
    command = ["sh", "-c", 'echo "a  b" $GREETING']
    log = tmp_path / "a.log"
    request = microvm.guest_request(command, tmp_path, [], {"GREETING": "hello"}, log)
    assert request["command"] == command
    assert request["cwd"] == str(tmp_path)
    assert request["env"]["GREETING"] == "hello"
    assert "SECRET" not in request["env"]
    assert [str(tmp_path), True] in [list(mount) for mount in request["mounts"]]


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
