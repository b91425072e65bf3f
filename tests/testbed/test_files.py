"""A path in an experiment file may lead from the file, from here or from the repository."""

from pathlib import Path

import pytest

from testbed.experiment import find_experiment, load_experiment
from testbed.files import find_file
from testbed.hosts.environment import REPOSITORY
from testbed.validation import model_folders


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


def test_the_folders_of_all_models_are_there_for_the_processes_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").touch()
    assignment = f"accordion.model={tmp_path / 'mine.safetensors'}"
    experiment = load_experiment(find_experiment(Path("demo")), [assignment])
    assert set(model_folders(experiment)) == {REPOSITORY / "testbed/checkpoints", tmp_path}
