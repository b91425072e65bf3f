"""What was measured is kept under the hash of all the code that measured it."""

import subprocess
import sys
from pathlib import Path

from controller.keeping.import_closure import REPOSITORY, import_closure
from controller.ladder.cache import MEASURED_BY

LOADED = f"""
import sys, {MEASURED_BY}
for name, module in sys.modules.items():
    if name.startswith(("controller", "stage_node")): print(module.__file__)
"""


def test_the_closure_of_the_ladders_code_is_all_of_ours_that_python_loads_for_it():
    python = [sys.executable, "-c", LOADED]
    told = subprocess.run(python, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    loaded, closure = set(map(Path, told.stdout.splitlines())), set(import_closure(MEASURED_BY))
    assert len(loaded) > 40
    assert loaded <= closure


def test_a_module_far_below_is_found_and_one_beside_is_not(tmp_path):
    write(tmp_path, "ours/__init__.py", "")
    write(tmp_path, "ours/top.py", "import json\nfrom ours import middle\n")
    write(
        tmp_path, "ours/middle.py", "def late():\n    from ours.deep.end import x\n    return x\n"
    )
    write(tmp_path, "ours/deep/__init__.py", "")
    write(tmp_path, "ours/deep/end.py", "import ours.top\nx = 1\n")
    write(tmp_path, "ours/beside.py", "")
    names = [str(file.relative_to(tmp_path)) for file in import_closure("ours.top", tmp_path)]
    assert names == [
        *("ours/__init__.py", "ours/deep/__init__.py", "ours/deep/end.py"),
        *("ours/middle.py", "ours/top.py"),
    ]


def write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
