"""What a run leaves behind when the user has seen enough."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stage_node.records.run_directory import RunDirectory
from testbed.errors import RunInterruptedError
from testbed.experiment.file import find_experiment
from testbed.hosts.choose import ChosenHost, HostWish
from testbed.planning.checked import checked_file
from testbed.run import runner


class Host:
    """Has run the emulation before anyone looks."""

    kind = "native"

    def run(self, command: Any, *, writable: Path, **others: Any) -> int:
        RunDirectory(writable).network.write_text("{}")
        return 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_the_report_is_drawn_says_how_to_have_it(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        runner, "choose_host", lambda wish, kernel: ChosenHost(Host(), "of this test")
    )
    monkeypatch.setattr(runner, "build_report", lambda path: os.kill(os.getpid(), number))
    file, out = find_experiment(Path("accordion-star")), tmp_path / "out"
    checked = checked_file(file)
    with pytest.raises(RunInterruptedError, match=f"concertina report {out}") as interrupted:
        runner.run_experiment(checked, HostWish(), out, Console(quiet=True))
    assert interrupted.value.exit_status == 128 + number
