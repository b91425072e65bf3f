"""Control on a link that varies, as a user runs it: two modes on the same trace, in a microVM."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stage_node.repository import REPOSITORY

pytestmark = [pytest.mark.microvm, pytest.mark.usefixtures("kernel")]

SECONDS, FRAMES_PER_S = 6, 5


def test_two_modes_have_the_same_trace_and_the_summary_compares_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "testbed", "run", "lte-control", "--clock", "virtual"]
    settings = {
        "network.access.up.trace.duration_s": SECONDS,
        "pipeline.control.duration_s": SECONDS,
        "pipeline.control.modes": "[automatic, oracle]",
        "pipeline.measured_images": 40,
        "devices": "{ue1: instant, edge: instant, cloud: instant}",
    }
    sets = [f"--set={key}={value}" for key, value in settings.items()]
    run = subprocess.run(
        [*command, "--out", str(out), *sets], cwd=REPOSITORY, capture_output=True, text=True
    )
    summary = json.loads((out / "summary.json").read_text())
    assert run.returncode == 0, run.stdout
    assert summary["problems"] == [] and summary["fidelity"]["reasons"] == []
    (replay,) = summary["replays"]
    assert replay["direction"] == "a_to_b" and replay["changes"] >= 2 * 10 * SECONDS
    (pipeline,) = summary["pipelines"]
    automatic, oracle = pipeline["control"]["modes"]
    assert (automatic["mode"], oracle["mode"]) == ("automatic", "oracle")
    for mode in (automatic, oracle):
        assert mode["frames_due"] in (SECONDS * FRAMES_PER_S, SECONDS * FRAMES_PER_S + 1)
        assert mode["frames"] == mode["frames_within"], "what was served was in time"
        assert mode["accuracy"]["value"] > 0.9
    assert oracle["frames"] == oracle["frames_due"]
    assert automatic["frames"] >= automatic["frames_due"] - 1, "it learns of a change by one frame"
    assert pipeline["frozen_unchanged"] is True

    applied = [
        json.loads(line)
        for line in (out / "events.jsonl").read_text().splitlines()
        if '"link_changed"' in line or '"control_begins"' in line
    ]
    begins = [each for each in applied if each["kind"] == "control_begins"]
    heads = [
        [
            each["rate_mbit"]
            for each in applied
            if each["kind"] == "link_changed" and each["t_ns"] >= begin["begin_ns"]
        ][:20]
        for begin in begins
    ]
    assert heads[0] == heads[1], "each mode has the trace from its beginning"
