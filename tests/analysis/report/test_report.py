"""Summary, plots and page: complete, self-contained, and honest about what a run lacks."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest

from analysis.metrics.links.sequence import SEQUENCE_SCHEMA
from analysis.metrics.measure import measure
from analysis.plots.connections import connection_plots
from analysis.plots.figures.time_sequence import plot_time_sequence
from analysis.report.build import build_report
from analysis.report.sentences import result_paragraphs
from analysis.run.reader import read_run
from analysis.summary import Summary
from analysis.summary.document import summary_reference
from analysis.wording import number, percent
from stage_node.records.events import Phase
from stage_node.records.machine import FailureRecord
from stage_node.repository import REPOSITORY
from tests.analysis.conftest import Known
from tests.analysis.synthetic_run import SyntheticRun

LINK_PLOTS = {"throughput", "one_way_delay", "departures", "rtt", "flight"}
PIPELINE_PLOTS = {
    *("latency", "breakdown", "waterfall", "iterations", "accuracy", "time_sequence_frames"),
}
DELIVERY_PLOTS = {"accordion", "accordion_accuracy", "time_sequence_download"}
PLOTS = LINK_PLOTS | PIPELINE_PLOTS | DELIVERY_PLOTS


def text_of(path: Path) -> str:
    """What a reader of the page sees, spaces made plain."""
    parts: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            parts.append(data)

    Reader().feed(path.read_text(encoding="utf-8"))
    return re.sub(r"\s+", " ", " ".join(parts).replace("\u202f", "").replace("\u2212", "-"))


def test_the_summary_can_be_read_back(known: Known) -> None:
    assert Summary.read(known.path / "summary.json") == known.summary
    assert json.loads((known.path / "summary.json").read_text())["schema"] == 2


def test_every_plot_is_there_with_its_data(known: Known) -> None:
    for ending in ("svg", "png", "csv"):
        assert {path.stem for path in (known.path / "plots").glob(f"*.{ending}")} == PLOTS
    for name in PLOTS:
        root = ElementTree.parse(known.path / "plots" / f"{name}.svg").getroot()
        assert root.tag.endswith("svg")
        assert pl.read_csv(known.path / "plots" / f"{name}.csv").height > 0


def test_the_same_run_gives_the_same_pictures(known: Known, copied: Callable[[], Path]) -> None:
    path = copied()
    build_report(path)
    for name in PLOTS:
        ours, theirs = (p / "plots" / f"{name}.svg" for p in (path, known.path))
        assert ours.read_bytes() == theirs.read_bytes()
    assert (path / "report.html").read_text() == (known.path / "report.html").read_text()


def test_the_page_needs_nothing_outside_itself(known: Known) -> None:
    page = (known.path / "report.html").read_text(encoding="utf-8")
    references = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(references) == len(PLOTS)
    assert all(reference.startswith("data:image/svg+xml;base64,") for reference in references)
    assert "<script" not in page
    assert "@import" not in page


def test_verdict_first_then_the_result_in_words(known: Known) -> None:
    text = text_of(known.path / "report.html")
    verdict, result, plots, repeat = (
        text.index(part)
        for part in (
            "Fidelity: PASS",
            "Compressing the fringe layers",
            "What the wire saw",
            "To repeat this run",
        )
    )
    assert verdict < result < plots < repeat
    bandwidth = known.summary.pipeline and known.summary.pipeline.bandwidth_reduction
    assert bandwidth
    assert f"from {bandwidth.total.before:.0f} to {bandwidth.total.after:.0f} per inference" in text
    assert "Accuracy was 98.0 % (300 test images) before and 96.5 % (300 test images) after" in text
    assert "within its deadline of 150 ms" in text
    # a small raw image beats the split, and the page says so
    assert "is a LOSS on ue1 → edge (4000 bytes, 5.2 times as many)" in text
    assert "a LOSS on ue1 → edge (1000 bytes, 1.3 times as many)" in text
    assert "a gain on edge → cloud (500 bytes, 1.5 times fewer)" in text
    assert "512 train images calibrated the cuts" in text
    assert "took 12.5 s, 1.2 s of them on the processor, and 512 MiB" in text
    assert "seed: 1" in text


@pytest.mark.parametrize(
    ("floor", "said"),
    [
        (
            "max_accuracy_loss_points: 1.6",
            "it lost 1.5 percentage points: the floor, a loss of at most 1.6 points, held there.",
        ),
        ("max_accuracy_loss_points: 1.6", "it lost 1.8 percentage points: there the floor did not"),
        ("max_accuracy_loss_points: 1.5", "a loss of at most 1.5 points, held there."),
        ("max_accuracy_loss_points: 1.4", "a loss of at most 1.4 points, was BROKEN there."),
        ("max_accuracy_loss_points: 2", "it lost 1.8 percentage points: there the floor held as"),
        ("min_accuracy: 0.963", "the floor, at least 96.3 %, held there."),
        ("min_accuracy: 0.963", "there the floor did not hold."),
    ],
)
def test_the_floor_is_held_against_the_images_of_the_loop_and_against_the_others(
    copied: Callable[[], Path], floor: str, said: str
) -> None:
    path = copied()
    (path / "experiment.yaml").write_text(f"pipeline: {{targets: {{{floor}}}}}\n")
    lines = (path / "events.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    for step in steps:
        if step["kind"] == "measurement" and step["label"] == "after":
            step["accuracy"] = 0.962
    (path / "events.jsonl").write_text("\n".join(json.dumps(step) for step in steps) + "\n")
    paragraphs = result_paragraphs(measure(read_run(path)).summary, ())
    assert said in " ".join(paragraphs[0]).replace("\u00a0", " ")


def test_an_automatic_split_is_told_with_its_reason(
    copied: Callable[[], Path], known: Known
) -> None:
    assert "The split was chosen automatically" not in text_of(known.path / "report.html")
    path = copied()
    lines = (path / "events.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    for step in steps:
        if step["kind"] == "partition":
            step["reason"] = "cut after stem, of all places"
    (path / "events.jsonl").write_text("\n".join(json.dumps(step) for step in steps) + "\n")
    summary = measure(read_run(path)).summary
    assert summary.pipeline and summary.pipeline.split_reason == "cut after stem, of all places"
    (said,) = (line for line in result_paragraphs(summary, ())[0] if "automatically" in line)
    assert said == "The split was chosen automatically: cut after stem, of all places."


def test_words_and_numbers_do_not_run_into_each_other(known: Known) -> None:
    text = text_of(known.path / "report.html")
    assert "392 inferences in 98 frames within 1.5 s" in text
    assert "Idle CPU: 60 % in the busiest of the 3 sampled seconds" in text
    assert "nothing of the emulation ran: 0.5 % of these windows and downloads (longest 8" in text


def test_every_mark_of_a_time_sequence_is_named() -> None:
    """Those too close to be told apart share one name's place."""
    table = pl.DataFrame(
        [(0.0, "sent", 0, 100_000), (1.0, "received", 0, 100_000)],
        schema=SEQUENCE_SCHEMA,
        orient="row",
    )
    marks = {"3-3-3": 100_000, "1-0-0": 10_000, "2-0-0": 12_000}
    figure = plot_time_sequence(table, "title", "subtitle", marks)
    places = {note.get_text(): note.xy[1] for note in figure.axes[0].texts}
    assert places == {"1-0-0, 2-0-0": 12.0, "3-3-3": 100.0}


def failed(path: Path) -> Path:
    record = json.loads((path / "fidelity.json").read_text())
    record |= {"verdict": "fail", "reasons": ["ue1-edge a_to_b: goodput 7 % below its ideal"]}
    (path / "fidelity.json").write_text(json.dumps(record))
    return path


def test_a_failed_verdict_is_on_the_page_and_on_every_plot(copied: Callable[[], Path]) -> None:
    path = failed(copied())
    whole = (path / "plots" / "latency.svg").read_bytes()
    summary = build_report(path)
    assert summary.fidelity.verdict == "fail"
    text = text_of(path / "report.html")
    assert text.index("Fidelity: FAIL") < text.index("goodput 7 % below its ideal")
    assert "must not be trusted" in text
    for name in PLOTS:
        drawing = (path / "plots" / f"{name}.svg").read_text()
        assert "<!-- fidelity: FAIL, real clock -->" in drawing
    assert whole != (path / "plots" / "latency.svg").read_bytes()


def test_without_fidelity_the_verdict_is_unknown(copied: Callable[[], Path]) -> None:
    path = copied()
    (path / "fidelity.json").unlink()
    summary = build_report(path)
    assert "Idle CPU: not judged" in text_of(path / "report.html")
    assert summary.fidelity.verdict == "unknown"
    assert all(link.probed_capacity_mbit is None for link in summary.links)
    assert summary.accordion
    assert summary.accordion.downloads[0].expected is None
    assert summary.pipeline
    assert summary.pipeline.windows[0].busiest is None
    assert "never judged" in text_of(path / "report.html")


@pytest.mark.parametrize("part", ["pipeline", "accordion"])
def test_a_run_of_one_half_has_the_report_of_that_half(tmp_path: Path, part: str) -> None:
    run = SyntheticRun(pipeline=part == "pipeline", accordion=part == "accordion")
    path = run.write(tmp_path / part)
    summary = build_report(path)
    assert (summary.pipeline is not None) == (part == "pipeline")
    assert (summary.accordion is not None) == (part == "accordion")
    text = text_of(path / "report.html")
    assert ("Eq. 1" in text) == (part == "pipeline")
    assert ("least time that could be expected" in text) == (part == "accordion")
    drawn = {file.stem for file in (path / "plots").glob("*.svg")}
    assert drawn == LINK_PLOTS | (PIPELINE_PLOTS if part == "pipeline" else DELIVERY_PLOTS)


def test_a_run_that_died_early_says_so(copied: Callable[[], Path]) -> None:
    path = copied()
    lines = (path / "events.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["kind"] in ("phase", "partition")]
    (path / "events.jsonl").write_text("\n".join(kept) + "\n")
    FailureRecord(type="RunFailedError", message="stage edge ended with status 1", status=1).write(
        path / "failure.json"
    )
    summary = build_report(path)
    assert summary.pipeline
    assert summary.pipeline.windows == ()
    assert summary.pipeline.bandwidth_reduction is None
    text = text_of(path / "report.html")
    failure = "The run failed: stage edge ended with status 1."
    assert text.index(failure) < text.index("Fidelity:")
    assert "no comparison" in text
    assert "How busy the links were" not in text
    drawn = {file.stem for file in (path / "plots").glob("*.svg")}
    assert drawn == LINK_PLOTS | {"breakdown", "waterfall"}


@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.6, 0.8])
def test_a_run_that_failed_in_the_middle_has_a_report_that_says_what_it_lacks(
    copied: Callable[[], Path], share: float
) -> None:
    path = copied()
    lines = (path / "events.jsonl").read_text().splitlines()
    begun = Phase(t_ns=0, who="runner", phase="pipeline", state="begin").to_json()
    kept = [begun, *lines[: int(share * len(lines))]]
    (path / "events.jsonl").write_text("\n".join(kept) + "\n")
    FailureRecord(type="RunFailedError", message="stage edge did not answer", status=1).write(
        path / "failure.json"
    )
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(
        json.dumps(manifest | {"clock": manifest["clock"][:1]})  # the second is taken at the end
    )
    for name in ("fidelity.json", "captures.json", "captures", "ledger"):
        file = path / name
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    summary = build_report(path)
    assert summary.failure == "stage edge did not answer"
    text = text_of(path / "report.html")
    for lack in (
        "the run ended in the middle of its phase pipeline",
        "capture cloud-eth0.pcap is missing",
        "the table results is missing",
        "captures.json is missing",
    ):
        assert any(lack in problem for problem in summary.problems)
        assert lack in text
    assert text.index("stage edge did not answer") < text.index("Fidelity: UNKNOWN")
    assert " 0 inferences" not in text


def test_a_damaged_capture_is_named_and_its_figures_are_missing_not_wrong(
    copied: Callable[[], Path],
) -> None:
    path = copied()
    capture = path / "captures" / "edge-eth0.pcap"
    capture.write_bytes(capture.read_bytes()[:50_000])
    summary = build_report(path)
    assert any("edge-eth0.pcap is damaged" in problem for problem in summary.problems)
    assert any("never arrived completely" in problem for problem in summary.problems)
    assert "edge-eth0.pcap is damaged" in text_of(path / "report.html")
    assert summary.pipeline
    after = summary.pipeline.windows[1]
    assert after.cuts[0].transfer is None
    assert summary.pipeline.latency_reduction is None


def test_names_from_outside_cannot_break_the_page(copied: Callable[[], Path]) -> None:
    path = copied()
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(
        json.dumps(manifest | {"name": "<script>alert(1)</script>"})
    )
    build_report(path)
    assert "<script" not in (path / "report.html").read_text()


def test_the_documentation_of_the_summary_is_current() -> None:
    page = (REPOSITORY / "docs" / "summary.md").read_text(encoding="utf-8")
    assert page == summary_reference(), "run: python -m analysis.summary.document docs/summary.md"


def test_every_field_of_the_summary_is_documented() -> None:
    assert "| None |" not in summary_reference()


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(1234567.0, 0, "1\u202f234\u202f567"), (-2.5, 1, "\u22122.5"), (None, 0, "\u2013")],
)
def test_numbers_read_well(value: float | None, digits: int, shown: str) -> None:
    assert number(value, digits) == shown


def test_shares_are_percentages() -> None:
    assert percent(0.1234) == "12.3\u00a0%"
    assert percent(None) == "\u2013"


def test_downloads_that_a_plot_leaves_out_are_counted(known: Known) -> None:
    (first, *_) = known.measured.transfers
    for count, said in ((2, ""), (3, "Of 3 downloads, the 2 that brought most are shown.")):
        measured = replace(known.measured, transfers=(first,) * count)
        captions = [plot.caption for plot in connection_plots(measured)]
        assert len(captions) == 2 and all(said in caption for caption in captions)
        assert all(("downloads" in caption) is bool(said) for caption in captions)


def test_a_report_says_that_computing_was_charged_and_from_what(copied: Callable[[], Path]) -> None:
    path = copied()
    column = {
        "images": 1,
        "cpu_model": "Some CPU",
        "torch_version": "2.13",
        "layer_ms": {"stem": 1.0},
    }
    columns = [column | {"measured": "2026-11-29"}, column | {"measured": "2026-11-30"}]
    profiles = {
        "ue1": {"name": "raspberry-pi-4", "speed": 0.46, "source": "a benchmark"},
        "edge": {"name": "instant", "speed": "Infinity", "source": "own choice"},
        "cloud": {"name": "my-box", "speed": None, "source": "measured", "tables": []},
    }
    devices = {host: {"profile": each, "cpu_share": 1.0} for host, each in profiles.items()}
    devices["ue1"]["cpu_share"] = 0.25
    record = {
        "declared": True,
        "devices": devices,
        "tables": [{"model": "m", "checkpoint_sha256": "0", "columns": columns}],
    }
    (path / "compute.json").write_text(json.dumps(record))
    summary = build_report(path)
    assert summary.computing and summary.computing.measured == "2026-11-30"
    assert [device.speed for device in summary.computing.devices] == [0.46, None, None]
    assert Summary.read(path / "summary.json") == summary
    text = text_of(path / "report.html").replace("\u00a0", " ")
    for said in (
        "Computing was charged, not measured",
        "one core of Some CPU (2026-11-30, torch 2.13)",
        "ue1 computes as raspberry-pi-4 (speed 0.46; 25 % of it)",
        "edge computes as instant (in no time) and cloud computes as my-box (times measured on it)",
    ):
        assert said in text
    (path / "compute.json").write_text(json.dumps(record | {"declared": False}))
    told = result_paragraphs(build_report(path), ())
    assert any("names no devices" in sentence for sentences in told for sentence in sentences)


def test_a_report_of_a_run_on_the_real_clock_says_nothing_of_charges(known: Known) -> None:
    assert known.summary.computing is None
    assert "charged" not in text_of(known.path / "report.html")
