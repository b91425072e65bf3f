"""Guests run a copy of the code: the same for every checkout, whole or not there at all."""

import os
import shutil
import time
from pathlib import Path

import pytest

from testbed.hosts import code_copy as copies
from testbed.hosts.code_copy import KEPT_S, code_copy

SEEN_AS = Path("/run/concertina/code")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small one, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return at(tmp_path / "here", monkeypatch)


def at(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for file in ("testbed/a.py", "testbed/profiles.yaml", "testbed/evidence/thesis.py"):
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).write_text("number = 1\n")
    monkeypatch.setattr(copies, "REPOSITORY", place)
    return place


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_two_checkouts_of_the_same_code_have_the_same_bytes(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = code_copy(SEEN_AS, tmp_path / "spare")
    told = contents(first)
    assert [name for name in sorted(told) if "__pycache__" not in name] == [
        "testbed/a.py", "testbed/profiles.yaml"
    ]  # fmt: skip
    (compiled,) = (content for name, content in told.items() if name.endswith(".pyc"))
    assert str(SEEN_AS).encode() in compiled and str(tmp_path).encode() not in compiled

    at(tmp_path / "elsewhere", monkeypatch)
    assert code_copy(SEEN_AS, tmp_path / "spare") == first
    shutil.rmtree(first)
    assert contents(code_copy(SEEN_AS, tmp_path / "spare")) == told


def test_other_code_is_another_copy_and_the_old_one_stays_as_it_was(
    checkout: Path, tmp_path: Path
) -> None:
    first = code_copy(SEEN_AS, tmp_path / "spare")
    before = contents(first)
    (checkout / "testbed/a.py").write_text("number = 2\n")
    assert code_copy(SEEN_AS, tmp_path / "spare") != first
    assert contents(first) == before


def test_copies_that_nobody_used_for_long_go_away(checkout: Path, tmp_path: Path) -> None:
    old, recent = (tmp_path / "cache/concertina/code" / name for name in ("old", "recent"))
    for folder, age_s in ((old, KEPT_S + 60), (recent, KEPT_S - 60)):
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - age_s,) * 2)
    place = code_copy(SEEN_AS, tmp_path / "spare")
    assert {each.name for each in place.parent.iterdir()} == {"recent", place.name}


def test_without_a_cache_the_copy_is_beside_the_guest(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    place = code_copy(SEEN_AS, tmp_path / "spare")
    assert place == tmp_path / "spare/code" and (place / "testbed/a.py").exists()
