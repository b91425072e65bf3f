"""The models of a run, copied into its directory: nothing else of the machine's files is needed.

So a run directory can be run again wherever it lies, and the processes of the run find their models
at the same paths everywhere.
"""

import shutil
from pathlib import Path

from controller.accordion.lookup import table_path
from stage_node.records.run_directory import RunDirectory


class RunFiles:
    """Copies files into a run directory, each once."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._copies: dict[Path, Path] = {}

    def model(self, file: Path) -> Path:
        """Copy a model, and the look-up table beside it; its path relative to the run directory."""
        if file not in self._copies:
            copy = self._free(file.name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            if table_path(file).exists():
                shutil.copyfile(table_path(file), table_path(copy))
            self._copies[file] = copy.relative_to(self._run.path)
        return self._copies[file]

    def _free(self, name: str) -> Path:
        """A path of this name that no other file has: files of one name may differ."""
        folder, number = self._run.models, 1
        while (folder / name).exists():
            number += 1
            folder = self._run.models / str(number)
        return folder / name
