"""Two cells of a sweep, each in a microVM and on a CPU of its own; then there is nothing left."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from stage_node.repository import REPOSITORY

pytestmark = [pytest.mark.microvm, pytest.mark.usefixtures("kernel")]

EXPERIMENT = """
name: tiny
network: {shape: chain, hosts: [ue, server], links: {rate_mbit: 8, delay_ms: 10}}
accordion:
  model: digits-resnet20-coml
  server: server
  downloads: [{ue: ue, repeat: 5, steps: [{all: true}]}]
"""
SWEEP = """
name: two-rates
experiment: tiny.yaml
parameters: {network.links.rate_mbit: [4, 8]}
repetitions: 1
figures: [accordion.downloads.*.goodput_mbit]
"""


def test_two_rates_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(EXPERIMENT)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    command = [sys.executable, "-m", "testbed", "sweep", "sweep.yaml", "--clock", "virtual"]

    def sweep() -> str:
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(
            [*command, "--out", "out"], cwd=tmp_path, env=environment, capture_output=True,
            text=True, timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done
        return done.stdout

    sweep()
    table = pl.read_parquet(tmp_path / "out/table.parquet").sort("network.links.rate_mbit")
    downloads = table.select(pl.col("^accordion[.]downloads[.].*[.]goodput_mbit$"))
    assert downloads.width == 5
    for rate_mbit, each in zip((4, 8), downloads.iter_rows(), strict=True):
        assert 0.7 * rate_mbit < min(each) < 1448 / 1514 * rate_mbit
        assert max(each) < 1.0001 * min(each), "nothing is measured here but the link"
    manifests = [
        json.loads((tmp_path / "out" / run / "manifest.json").read_text()) for run in table["run"]
    ]
    assert all(manifest["outer_machine"]["cpus"] == 1 for manifest in manifests)
    assert "2 of 2 cells are done already" in sweep()
