"""Several split models in one run: each has the figures that it would have alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analysis.metrics.figures import run_figures
from analysis.metrics.measure import measure
from analysis.report.build import build_report
from analysis.run.reader import read_run
from analysis.summary import Summary
from analysis.summary.pipeline import PipelineSummary
from analysis.sweep.table import figures
from analysis.trace.trace import traced_flows
from stage_node.records.events import PartitionChosen
from tests.analysis import synthetic_run
from tests.analysis.synthetic_run import SyntheticRun

MOVED = {"ue1": "ue2", "edge": "mec", "cloud": "dc", "10.0.": "10.1."}
OF_ALL_LINKS = {"name", "loads", "busiest", "slowest"}


def moved(text: str) -> str:
    for old, new in MOVED.items():
        text = text.replace(old, new)
    return text


def renamed(path: Path, write: Callable[[str], str], whose: str) -> None:
    """A run of which other hosts, addresses and a controller of that name are told."""
    events = write((path / "events.jsonl").read_text())
    events = events.replace('"pipeline":"pipeline"', f'"pipeline":"{whose}"')
    events = events.replace('"who":"controller"', f'"who":"controller-{whose}"')
    (path / "events.jsonl").write_text(events)
    for name in ("network.json", "fidelity.json", "captures.json"):
        (path / name).write_text(write((path / name).read_text()))
    for file in (path / "ledger").glob("*.parquet"):
        rows = pl.read_parquet(file)
        texts = [name for name, kind in rows.schema.items() if kind == pl.String]
        rows.with_columns(
            pl.col(name).map_elements(write, return_dtype=pl.String) for name in texts
        ).write_parquet(file)
    for file in (path / "captures").glob("*.pcap"):
        file.rename(file.with_name(write(file.name)))


def merged(first: Path, second: Path) -> None:
    """Put what the second run left to what the first did, as if both had been one.

    Whatever both tell at the same moment, the second tells first.
    """
    for name, add in (
        ("network.json", lambda a, b: a | {"hosts": a["hosts"] | b["hosts"],
                                           "links": a["links"] + b["links"]}),
        ("fidelity.json", lambda a, b: a | {p: a[p] + b[p] for p in ("links", "rtt", "qdisc")}),
        ("captures.json", lambda a, b: a | {"captures": a["captures"] + b["captures"]}),
    ):  # fmt: skip
        a, b = (json.loads((path / name).read_text()) for path in (first, second))
        (first / name).write_text(json.dumps(add(a, b)))
    lines = [line for p in (second, first) for line in (p / "events.jsonl").open()]
    lines.sort(key=lambda line: json.loads(line)["t_ns"])
    (first / "events.jsonl").write_text("".join(lines))
    for file in (second / "ledger").glob("*.parquet"):
        own = first / "ledger" / file.name
        pl.concat([pl.read_parquet(own), pl.read_parquet(file)]).write_parquet(own)
    for file in (second / "captures").glob("*.pcap"):
        file.rename(first / "captures" / file.name)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, PipelineSummary]]:
    """Two runs of one pipeline each, made one; and what each pipeline's figures were alone."""
    folder = tmp_path_factory.mktemp("several")
    alone = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_run, "DRIFT_NS", 0)  # both have one clock
        first = SyntheticRun(accordion=False).write(folder / "a")
        patch.setattr(synthetic_run, "SPLIT_BYTES", {"before": (9000, 3000), "after": (900, 300)})
        other = SyntheticRun(accordion=False)
        for row in other.results:
            row["correct"] = 1
        for tap in other.taps.values():
            tap.packets = [
                (t, b"%b\x01%b\x01%b" % (p[:27], p[28:31], p[32:])) for t, p in tap.packets
            ]
        second = other.write(folder / "b")
    renamed(first, lambda text: text, "a")
    renamed(second, moved, "b")
    floors = "pipelines:\n  a: {targets: {max_accuracy_loss_points: 1.5}}\n"
    floors += "  b: {targets: {min_accuracy: 0.99}}\n"
    for path in (first, second):
        (path / "experiment.yaml").write_text(floors)
        (figures_alone,) = measure(read_run(path)).summary.pipelines
        alone[figures_alone.name] = figures_alone
    merged(first, second)
    build_report(first)
    return first, alone


def own(part: Any) -> Any:
    """Figures without those that are of all links there are."""
    if isinstance(part, dict):
        return {name: own(value) for name, value in part.items() if name not in OF_ALL_LINKS}
    return [own(value) for value in part] if isinstance(part, list) else part


def test_each_pipeline_has_the_figures_that_it_has_alone(
    several: tuple[Path, dict[str, PipelineSummary]],
) -> None:
    path, alone = several
    summary = Summary.read(path / "summary.json")
    told = [partition.pipeline for partition in read_run(path).events_of(PartitionChosen)]
    assert told == ["b", "a"]  # whoever is ready first; the report keeps to the experiment
    assert summary.problems == () and [p.name for p in summary.pipelines] == ["a", "b"]
    for pipeline in summary.pipelines:
        assert pipeline.breakdown and pipeline.breakdown.frames == 200
        there, here = (own(x.model_dump(mode="json")) for x in (alone[pipeline.name], pipeline))
        assert here == there
    a, b = summary.pipelines
    assert a.bandwidth_reduction and b.bandwidth_reduction
    assert a.bandwidth_reduction.total.before > b.bandwidth_reduction.total.before
    assert a.accuracy_floor and b.accuracy_floor
    assert (a.accuracy_floor.decided_held, b.accuracy_floor.decided_held) == (True, False)


def test_page_plots_sweeps_comparisons_and_traces_tell_them_apart(
    several: tuple[Path, dict[str, PipelineSummary]],
) -> None:
    path, _ = several
    page = (path / "report.html").read_text()
    for name, hosts in (("a", "ue1, edge and cloud"), ("b", "ue2, mec and dc")):
        assert f"<h2>Split model: {name}</h2>" in page
        assert f"{name} ({hosts})" in page
        assert f"{name}: The model was split over {hosts}." in page
        assert (path / f"plots/latency-{name}.csv").exists()
    hops = [pl.read_csv(path / f"plots/latency-{name}.csv")["where"].unique() for name in "ab"]
    assert "ue1 → edge" in hops[0] and "ue2 → mec" in hops[1] and "ue1 → edge" not in hops[1]

    columns = figures(Summary.read(path / "summary.json"))
    assert columns["pipelines.a.windows.after.accuracy_share"] == 0.965
    assert "pipelines.b.windows.after.end_to_end.median_ms" in columns
    measured = measure(read_run(path))
    sections = {figure.section for figure in run_figures(measured)}
    assert {"a, before compression", "b, after compression"} <= sections
    assert {flow.what for flow in traced_flows(measured)} == {
        "a cut 0", "a cut 1", "b cut 0", "b cut 1"
    }  # fmt: skip


def test_ledgers_and_summaries_of_runs_that_knew_of_one_pipeline_are_still_read(
    tmp_path: Path,
) -> None:
    path = SyntheticRun().write(tmp_path / "run")
    summary = build_report(path)
    results = path / "ledger/results.parquet"
    pl.read_parquet(results).drop("node").write_parquet(results)
    assert build_report(path) == summary

    written = json.loads((path / "summary.json").read_text())
    (pipeline,) = written.pop("pipelines")
    assert (pipeline.pop("name"), written.pop("together")) == ("pipeline", False)
    old = written | {"schema": 1, "pipeline": pipeline}
    (path / "summary.json").write_text(json.dumps(old))
    assert Summary.read(path / "summary.json") == summary
    (path / "summary.json").write_text(json.dumps(old | {"pipeline": None}))
    assert Summary.read(path / "summary.json").pipelines == ()
