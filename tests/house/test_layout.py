"""The house stays one where things are found: small rooms, short files, one name for one thing."""

import ast
import subprocess
from collections import Counter, defaultdict
from functools import lru_cache
from pathlib import Path

import pytest

from stage_node.repository import REPOSITORY
from testbed.hosts.environment import PACKAGES

MOST_FILES, MOST_LINES = 15, 400


@lru_cache
def sources() -> tuple[Path, ...]:
    """Every Python file of the repository, packages and tests."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    files = (REPOSITORY / name for name in listed.stdout.splitlines())
    return tuple(file for file in files if file.exists())


def classes(file: Path) -> list[str]:
    """Names of the classes at the top of a file."""
    return [
        node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)
    ]


def test_a_class_name_stands_for_one_thing():
    homes = defaultdict(list)
    for file in sources():
        if file.relative_to(REPOSITORY).parts[0] in PACKAGES:
            for name in classes(file):
                homes[name].append(str(file.relative_to(REPOSITORY)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_no_folder_has_more_files_than_one_looks_through():
    counted = Counter(file.parent.relative_to(REPOSITORY) for file in sources())
    assert {str(room): n for room, n in counted.items() if n > MOST_FILES} == {}


def test_no_file_is_longer_than_one_reads_at_a_sitting():
    lines = {
        str(file.relative_to(REPOSITORY)): len(file.read_text().splitlines()) for file in sources()
    }
    assert {name: n for name, n in lines.items() if n > MOST_LINES} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_the_tests_mirror_the_packages_rooms(package):
    rooms = {
        path.name for path in (REPOSITORY / package).iterdir() if (path / "__init__.py").exists()
    }
    tested = {path.name for path in (REPOSITORY / "tests" / package).iterdir() if path.is_dir()}
    assert tested - rooms - {"corpus", "__pycache__", "programs"} == set()
