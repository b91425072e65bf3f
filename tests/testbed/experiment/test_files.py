"""A path in an experiment file may lead from the file, from here or from the repository; the run
has copies of what it leads to."""

from pathlib import Path

import pytest

from controller.accordion.lookup import table_path
from stage_node.repository import REPOSITORY
from testbed.experiment.files import find_file
from testbed.planning.model_copies import RunFiles
from testbed.run.directory import create_run_directory


def test_the_experiment_s_own_folder_goes_before_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, here = tmp_path / "own", tmp_path / "here"
    for folder in (own, here):
        folder.mkdir()
    monkeypatch.chdir(here)
    assert find_file("README.md", own) == REPOSITORY / "README.md"
    (here / "README.md").touch()
    assert find_file("README.md", own) == here / "README.md"
    (own / "README.md").touch()
    assert find_file("README.md", own) == own / "README.md"
    assert find_file(str(here / "README.md"), own) == here / "README.md"


def test_what_is_nowhere_is_looked_for_beside_the_experiment(tmp_path: Path) -> None:
    assert find_file("none.safetensors", tmp_path) == tmp_path / "none.safetensors"


def test_a_run_has_each_model_once_with_its_look_up_table_at_a_path_of_its_own(
    tmp_path: Path,
) -> None:
    run = create_run_directory("x", tmp_path / "run")
    files = RunFiles(run)
    shipped = REPOSITORY / "testbed/checkpoints/digits-resnet20-coml.safetensors"
    other = tmp_path / shipped.name
    other.write_bytes(b"another model of that name")
    copies = [files.model(file) for file in (shipped, other, shipped)]
    assert copies == [
        Path("models", shipped.name), Path("models/2", shipped.name), Path("models", shipped.name)
    ]  # fmt: skip
    assert (run.path / copies[0]).read_bytes() == shipped.read_bytes()
    assert (run.path / copies[1]).read_bytes() == other.read_bytes()
    tables = sorted(path.relative_to(run.path) for path in run.models.rglob("*lookup*"))
    assert tables == [table_path(copies[0])]
