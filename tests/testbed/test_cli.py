"""What a user meets before anything has run."""

import subprocess
import sys
from pathlib import Path

import pytest

ANSWERED = """
import sys
from testbed.cli import main
try:
    main()
finally:
    print([name for name in ("torch", "matplotlib", "polars") if name in sys.modules])
"""


@pytest.mark.parametrize("command", ["run", "ladder"])
def test_a_file_of_the_wrong_form_is_answered_before_anything_heavy_is_imported(
    command: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nnetwrok: {}\n")
    answer = subprocess.run(
        [sys.executable, "-c", ANSWERED, command, str(file)], capture_output=True, text=True
    )
    assert answer.returncode == 2
    assert answer.stdout == "[]\n"
    assert answer.stderr.splitlines() == [
        f"concertina: {file}: network: missing",
        f"concertina: {file}: netwrok: unknown field; did you mean network?",
    ]
