"""Control on a link that varies: figures, plots and words from events and ledger alone."""

import json
from pathlib import Path

import polars as pl
import pytest

from analysis.metrics.pipeline.control import replay_figures, whole_passes, wire_bytes
from analysis.report.build import build_report
from analysis.run.ledger import LEDGER_SCHEMA
from analysis.run.reader import read_run
from analysis.summary import Summary
from stage_node.records.events import ControlBegins, Event, LinkChanged, RungChosen
from tests.analysis.synthetic_run import SyntheticRun

MS = 1_000_000
BOUND_MS, FRAME_MS, SECONDS = 100.0, 200.0, 2
IMAGES = 80  # four frames of 20


def chosen(t_ns: int, generation: int, accuracy: float) -> RungChosen:
    return RungChosen(
        t_ns=t_ns,
        who="controller",
        generation=generation,
        rungs=(f"rung {generation}",) * 2,
        bound_ms=BOUND_MS,
        rate_mbit=(2.0, 5.0),
        forecast_ms=90.0,
        latency_ms=None,
        accuracy=accuracy,
        reason="because",
    )


@pytest.fixture(scope="module")
def controlled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    """A synthetic run to which three modes of ten frames each are added, over a split of 80
    images: of the automatic ones two are late and one was left out, and half of the images are
    classified correctly in the two whole passes, none after them; in one mode nothing came."""
    path = SyntheticRun().write(tmp_path_factory.mktemp("control") / "run")
    last_ns = max(json.loads(x)["t_ns"] for x in (path / "events.jsonl").read_text().splitlines())
    events: list[Event] = []
    rows = []
    modes = (("automatic", 2, 9), ("oracle", 0, 10), ("kept", 0, 0))
    for number, (mode, late, frames) in enumerate(modes):
        begin_ns = last_ns + (1 + 3 * number) * 1000 * MS
        events.append(
            ControlBegins(
                t_ns=begin_ns - 500 * MS,
                who="controller",
                mode=mode,
                begin_ns=begin_ns,
                end_ns=begin_ns + SECONDS * 1000 * MS,
                bound_ms=BOUND_MS,
                frame_ms=FRAME_MS,
            )
        )
        events += [chosen(begin_ns + MS, 10, 0.9), chosen(begin_ns + 1000 * MS, 11, 0.8)]
        events += [
            LinkChanged(
                t_ns=begin_ns + step * 100 * MS + 2 * MS,
                who="runner",
                link="ue1-edge",
                direction="a_to_b",
                rate_mbit=1.0 + step,
                delay_ms=35.0,
                loss_percent=0.0,
                late_ms=2.0 + (step == 19) * 10,
            )
            for step in range(20)
            if frames
        ]
        for frame in range(frames):
            admitted = begin_ns + round(frame * FRAME_MS * MS)
            latency_ms = 150 if frame < late else 50
            rows.append(
                {
                    "node": "ue1",
                    "sequence": 900_000 + 100 * number + frame,
                    "generation": 10 if frame < 5 else 11,
                    "samples": 20,
                    "correct": (10 if mode == "automatic" else 18) if frame < 8 else 0,
                    "t_admitted_ns": admitted,
                    "t_result_ns": admitted + latency_ms * MS,
                }
            )
    log = path / "events.jsonl"
    assert log.read_text().count('"images":300') == 1
    log.write_text(log.read_text().replace('"images":300', f'"images":{IMAGES}'))
    with log.open("a") as log:
        log.writelines(event.to_json() + "\n" for event in events)
    file = path / "ledger/results.parquet"
    known = pl.read_parquet(file)
    pl.concat(
        [known, pl.DataFrame(rows, schema=LEDGER_SCHEMA["results"]).cast(known.schema)]
    ).write_parquet(file)
    return path, build_report(path)


def test_shares_accuracy_and_switches_of_every_mode(controlled: tuple[Path, Summary]) -> None:
    _, summary = controlled
    assert summary.pipeline and summary.pipeline.control
    control = summary.pipeline.control
    automatic, oracle, kept = control.modes
    assert (automatic.frames, automatic.frames_due, automatic.frames_within) == (9, 10, 7)
    assert automatic.within_share == 0.7, "a frame that was left out was not within"
    assert automatic.accuracy and automatic.accuracy.value == 0.5, "the ninth frame is no pass"
    assert (automatic.passes, automatic.accuracy.images) == (2, IMAGES)
    assert automatic.accuracy.split == "validation"
    assert automatic.accuracy_forecast == pytest.approx((5 * 0.9 + 4 * 0.8) / 9)
    assert automatic.switches == 1 and [c.t_s for c in automatic.choices] == [0.001, 1.0]
    assert automatic.latency and automatic.latency.median_ms == 50
    assert oracle.within_share == 1.0 and oracle.accuracy and oracle.accuracy.value == 0.9
    assert (kept.within_share, kept.frames_due, kept.frames) == (0.0, 10, 0)
    assert kept.accuracy is None and kept.passes == 0 and kept.wire_bytes is None


def test_the_same_rungs_have_the_same_accuracy_however_many_frames_and_wherever_they_begin() -> (
    None
):
    right = [20, 20, 19, 17, 5]  # of a split of 90: four frames of 20 and one of 10
    samples = [20, 20, 20, 20, 10]
    shares = set()
    for begin in range(5):
        for count in (5, 7, 9, 13):
            order = [(begin + i) % 5 for i in range(count)]
            frames = pl.DataFrame(
                {"samples": [samples[i] for i in order], "correct": [right[i] for i in order]}
            )
            counted, passes = whole_passes(frames, 90)
            assert passes >= 1
            shares.add(counted["correct"].sum() / counted["samples"].sum())
    assert shares == {81 / 90}


def test_bytes_on_the_wire_of_each_mode_are_those_of_its_frames_alone() -> None:
    """Two connections; the second mode's frames are not counted, nor is what is no activation."""
    results = pl.DataFrame({"sequence": [1, 2], "generation": [7, 8]})
    rows = [
        {
            "sequence": s,
            "generation": g,
            "kind": kind,
            "cut": cut,
            "samples": 20,
            "wire_bytes": size,
        }
        for s, g, kind, cut, size in (
            (1, 7, "activation", 0, 4000),
            (2, 8, "activation", 0, 2000),
            (1, 7, "activation", 1, 400),
            (2, 8, "activation", 1, 200),
            (3, 8, "activation", 1, 9999),
            (2, 9, "activation", 1, 9999),
            (2, 8, "result", 1, 9999),
        )
    ]
    assert wire_bytes(results, pl.DataFrame(rows), cuts=2) == (150.0, 15.0)
    assert wire_bytes(results, pl.DataFrame(rows), cuts=3) is None, "a connection was not seen"


def test_how_late_the_links_changed(controlled: tuple[Path, Summary]) -> None:
    path, summary = controlled
    (replay,) = summary.replays
    assert (replay,) == replay_figures(read_run(path))
    assert (replay.link, replay.direction, replay.changes) == ("ue1-edge", "a_to_b", 40)
    assert (replay.late_ms_median, replay.late_ms_max) == (2.0, 12.0)
    assert (replay.rate_mbit_min, replay.rate_mbit_max) == (1.0, 20.0)


def test_the_page_compares_and_the_plots_have_their_data(controlled: tuple[Path, Summary]) -> None:
    path, _ = controlled
    page = (path / "report.html").read_text()
    assert (
        "Automatic control kept 70.0\u00a0% of the frames due within 100 ms, with 1 switch, at an "
        "accuracy of 50.00\u00a0% (2 passes over 80 validation images)." in page
    )
    assert "(kept) 0.0\u00a0% of the frames due were within 100 ms: of 10 frames due NONE" in page
    assert "40.00 percentage points below the oracle&#39;s" in page
    assert "Links that varied" in page and "because" in page
    assert '<td>ue1-edge</td><td class="text">ue1 → edge</td><td>40</td>' in page
    timeline = pl.read_csv(path / "plots/control.csv")
    assert timeline.filter(pl.col("what") == "latency_ms").height == 19
    assert timeline.filter(pl.col("what") == "mbit ue1-edge").height == 40
    assert pl.read_csv(path / "plots/control_comparison.csv")["within_share"].to_list() == [
        0.7,
        1,
        0,
    ]
    drawn = (path / "plots/control_comparison.svg").read_text()
    assert "no whole pass: no accuracy" in drawn
    assert (path / "plots/control.svg").exists() and (
        path / "plots/control_comparison.svg"
    ).exists()


def test_a_run_without_control_has_neither(known: object) -> None:
    summary: Summary = known.summary  # type: ignore[attr-defined]
    assert summary.pipeline and summary.pipeline.control is None and summary.replays == ()
