"""Run directories of before the records had one model each: still read, to the same figures.

``golden/NAME.tar.xz`` are runs of commit 404a0be without what a report does not need (plots,
models, logs), ``golden/NAME.summary.json`` is what the code of that commit made of them.
"""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from testbed.run.reporting import rebuild_report

GOLDEN = Path(__file__).with_name("golden")
RUNS = ("split-loop", "lossy-download")


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a JSON value with its path."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from leaves(each, f"{where}.{name}")
    elif isinstance(value, list):
        yield f"{where}.length", len(value)
        for at, each in enumerate(value):
            yield from leaves(each, f"{where}[{at}]")
    else:
        yield where, value


@pytest.mark.parametrize("name", RUNS)
def test_the_report_of_an_old_run_has_the_same_figures(name: str, tmp_path: Path) -> None:
    with tarfile.open(GOLDEN / f"{name}.tar.xz") as archive:
        archive.extractall(tmp_path)
    assert rebuild_report(tmp_path, Console(quiet=True)) == 0
    assert (tmp_path / "report.html").is_file()
    ours = dict(leaves(json.loads((tmp_path / "summary.json").read_text())))
    theirs = dict(leaves(json.loads((GOLDEN / f"{name}.summary.json").read_text())))
    missing = theirs.keys() - ours.keys()
    assert not missing, "fields of the summary are lost"
    changed = {
        field: (ours[field], value)
        for field, value in theirs.items()
        if ours[field] != (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)
    }
    assert not changed, "field: (now, before)"
