"""What is found in the cache of kernels, and what a build is made from."""

import shutil
from pathlib import Path

import pytest

from testbed.kernel import recipe
from testbed.kernel.cache import find_kernel, kernel_cache, version_number
from testbed.kernel.guest_kernel import GuestKernel
from testbed.kernel.inquiry import NEEDED, lacking_symbols
from testbed.kernel.recipe import FRAGMENT, configuration_hash, unpacking, with_ticks
from testbed.kernel.source import KernelSource, installed_sources, newest
from testbed.kernel.steps import failure


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernel_cache().mkdir(parents=True)
    return kernel_cache()


def put(cache: Path, version: str = "6.12.117", made_from: str = "") -> GuestKernel:
    made_from = made_from or configuration_hash()
    folder = cache / f"{version}-{made_from[:12]}"
    folder.mkdir()
    for name in ("linux", "preload.so", "config"):
        (folder / name).write_text("some")
    kernel = GuestKernel(
        folder=folder,
        origin="built",
        version=version,
        sha256="",
        size_bytes=4,
        configuration_hash=made_from,
    )
    kernel.write()
    return kernel


def test_a_whole_kernel_of_the_present_recipe_is_found_the_newest_of_several(cache):
    assert find_kernel() is None
    put(cache, "6.9.3")
    newest = put(cache, "6.12.117")
    put(cache, "7.0.1", made_from="0" * 64)
    assert find_kernel() == newest


def test_kernels_move_with_their_cache(cache, tmp_path, monkeypatch):
    kernel = put(cache)
    shutil.move(tmp_path / "concertina", tmp_path / "elsewhere" / "concertina")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    found = find_kernel()
    assert found is not None and found.executable.is_file()
    assert found.sha256 == kernel.sha256


@pytest.mark.parametrize("name", ["linux", "preload.so", "config", "kernel.json"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_text("")])
def test_one_that_is_not_whole_is_not_found(cache, name, damage):
    kernel = put(cache)
    damage(kernel.folder / name)
    if name in ("linux", "kernel.json") or not (kernel.folder / name).exists():
        assert find_kernel() is None


def test_a_changed_configuration_is_another_kernel(tmp_path, monkeypatch):
    before, recipe_text = configuration_hash(), FRAGMENT.read_text()
    assert len(before) == 64
    changed = tmp_path / "kernel.config"
    monkeypatch.setattr(recipe, "FRAGMENT", changed)
    changed.write_text(f"# in other words\n\n{recipe_text}")
    assert configuration_hash() == before
    changed.write_text(f"{recipe_text}CONFIG_TUN=y\n")
    assert configuration_hash() != before


def test_what_a_kernel_of_ones_own_needs_the_built_one_has():
    fragment = FRAGMENT.read_text().splitlines()
    derived = {"LD_SCRIPT_DYN"}  # follows from what is not named
    assert all(f"CONFIG_{name}=y" in fragment for name in set(NEEDED) - derived)
    assert lacking_symbols("CONFIG_HOSTFS=y").count("CONFIG_") == len(NEEDED) - 1


def test_ticks_come_first_in_the_trees_kconfig():
    kconfig = with_ticks('# the top\nmainmenu "Linux"\nsource "init/Kconfig"\n')
    top, _, rest = kconfig.partition("config HZ\n\tint\n\tdefault 1000\n")
    assert top.split() == ["#", "the", "top", "mainmenu", '"Linux"']
    assert rest.split() == ["source", '"init/Kconfig"']


def test_only_sources_of_drivers_are_left_packed():
    words = unpacking(Path("/x/linux-source-6.8.0.tar.bz2"))
    assert "--exclude=linux-source-6.8.0/drivers/gpu/*.[chS]" in words
    assert not any("Kconfig" in word for word in words)


def test_the_newest_source_that_will_do_is_chosen_and_an_installed_one_before_a_package(tmp_path):
    (tmp_path / "linux-source-6.8.0").mkdir()
    (tmp_path / "linux-source-6.8.0" / "linux-source-6.8.0.tar.bz2").touch()
    (tmp_path / "linux-source-6.1.tar.xz").touch()
    installed = installed_sources(tmp_path)
    assert {source.version for source in installed} == {(6, 1), (6, 8, 0)}
    package = KernelSource((6, 8, 0), "linux-source-6.8.0")
    assert newest([*installed, package]) in installed
    assert newest([*installed, KernelSource((6, 12), "linux-source-6.12")]).version == (6, 12)
    assert newest([KernelSource((6, 1), "linux-source-6.1")]) is None


def test_versions_compare_as_numbers():
    assert version_number("6.12.117-mine") == (6, 12, 117)
    assert version_number("6.9") < version_number("6.12.1")
    assert version_number("dash") == ()


def test_the_first_error_is_told_else_the_first_line():
    log = Path("build.log")
    assert "a.c: error: x;" in failure("make", 2, ["  CC", "a.c: error: x", "Error 2"], log)
    assert "make failed: just this;" in failure("make", 2, ["", "just this"], log)
    assert "tar failed: exit status 2;" in failure("tar", 2, [], log)
