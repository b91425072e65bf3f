import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from analysis.metrics.measure import Measured, measure
from analysis.report.build import build_report
from analysis.run.reader import read_run
from analysis.summary import Summary
from tests.analysis.synthetic_run import SyntheticRun, Truth


@dataclass(frozen=True)
class Known:
    """A simulated run and what really happened in it."""

    path: Path
    truth: Truth
    measured: Measured
    summary: Summary


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    run = SyntheticRun()
    path = run.write(tmp_path_factory.mktemp("runs") / "whole")
    measured = measure(read_run(path))
    return Known(path, run.truth, measured, build_report(path))


@pytest.fixture
def copied(known: Known, tmp_path: Path) -> Callable[[], Path]:
    """A copy of the run directory that a test may damage."""

    def copy() -> Path:
        return Path(shutil.copytree(known.path, tmp_path / "copy"))

    return copy
