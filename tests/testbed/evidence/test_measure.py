"""The table of evidence is measured by encoding, and says what was lost by what."""

import json
from pathlib import Path

import pytest
import torch

from analysis.metrics.measure import measure
from analysis.run.reader import read_run
from analysis.summary import Summary
from analysis.summary.control import Control, ControlMode
from analysis.summary.section import Accuracy
from controller.distillation.distill import distil
from controller.distillation.training import DistillationRecipe
from stage_node.data import load_dataset
from stage_node.fringe.bottleneck import BottleneckSpec
from stage_node.models import load_checkpoint
from testbed.evidence import control, plot
from testbed.evidence import measure as measuring
from testbed.evidence.plot import draw
from testbed.experiment.file import CHECKPOINTS
from tests.analysis.synthetic_run import SyntheticRun

MODEL = CHECKPOINTS / "digits-resnet20.safetensors"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    spec = BottleneckSpec(in_shape=(32, 4, 4), stride=2, channels=8, bits=2, hidden=32)
    model, digits = load_checkpoint(MODEL), load_dataset("digits")
    recipe = DistillationRecipe(epochs=3, batch=32)
    distil(model, digits, "block2_2", spec, recipe, folder, folder / "b.safetensors", versions=2)
    module = f"bottleneck={folder / 'b.safetensors'}"
    command = [str(MODEL), "--data", "digits", "--after", "block2_2", "--out",
               str(folder / "table.json"), "--module", module]  # fmt: skip
    assert measuring.main(command) == 0
    return folder / "table.json", command


def rows_of(path):
    return {row["name"]: row for row in json.loads(path.read_text())["rows"]}


def test_bytes_are_those_that_arithmetic_expects(table):
    rows = rows_of(table[0])
    assert rows["uncompressed"]["bytes_per_image"] == 32 * 4 * 4 * 4
    assert rows["8 of 32 channels, 8 bit"]["bytes_per_image"] == 8 * 16
    assert rows["2 bit"]["bytes_per_image"] == 32 * 16 / 4
    assert rows["0.5 of the elements"]["bytes_per_image"] == 256 * 4 + 512 / 8
    assert rows["bottleneck, 2 bit"]["bytes_per_image"] == 8 * 4 * 2 / 8
    assert rows["bottleneck, 2 bit"]["times_fewer"] == 2048 / 8


def test_accuracies_are_those_of_the_model_and_lossless_coding_changes_none(table):
    rows = rows_of(table[0])
    model, test = load_checkpoint(MODEL), load_dataset("digits").test
    with torch.inference_mode():
        share = (model(test.images).argmax(1) == test.labels).float().mean().item()
    assert rows["uncompressed"]["test_accuracy"] == pytest.approx(share)
    for name, row in rows.items():
        assert row["points_lost"] == pytest.approx(100 * (share - row["test_accuracy"]), abs=0.01)
        if name.endswith(", zstd"):
            plain = rows.get(name.removesuffix(", zstd"), row)
            assert row["test_accuracy"] == plain["test_accuracy"]
    assert rows["bottleneck, 2 bit"]["trained"]
    assert rows["bottleneck, 2 bit"]["test_accuracy"] > 0.5
    assert rows["bottleneck, 2 bit"]["sender_macs"] > rows["2 bit"]["sender_macs"] > 0


def test_an_interrupted_measurement_goes_on(table, capsys):
    path, command = table
    whole = path.read_text()
    half = json.loads(whole)
    half["rows"] = half["rows"][:7]
    path.write_text(json.dumps(half))
    assert measuring.main(command) == 0
    assert json.loads(path.read_text())["rows"] == json.loads(whole)["rows"]


def test_the_plot_is_the_same_for_the_same_table(table, tmp_path):
    content = json.loads(table[0].read_text())
    draw(content, tmp_path / "a.svg")
    draw(content, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.csv").read_text().count("\n") == len(content["rows"]) + 1


def test_a_file_that_is_no_table_is_not_drawn(tmp_path, capsys):
    (tmp_path / "t.json").write_text('{"rows": []}')
    assert plot.main([str(tmp_path / "t.json"), str(tmp_path / "t.svg")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "t.json: no table of testbed.evidence.measure: it lacks after, dataset" in line
    assert not (tmp_path / "t.svg").exists()


def test_a_layer_that_does_not_exist_is_one_line_and_status_2(tmp_path, capsys):
    command = [str(MODEL), "--data", "digits", "--after", "x", "--out", str(tmp_path / "t.json")]
    assert measuring.main(command) == 2
    assert "no layer 'x'" in capsys.readouterr().err


def test_control_on_several_traces_is_told_with_median_and_spread(tmp_path: Path) -> None:
    """Two traces with known shares; on the second it misses the goal by its accuracy."""
    table = control.table_of(
        [
            ("a", "seed 1", controlled(tmp_path / "a", within=0.97, accuracy=0.98)),
            ("b", "seed 2", controlled(tmp_path / "b", within=0.99, accuracy=0.95)),
        ]
    )
    assert table["automatic"]["within_share"] == {"median": 0.98, "min": 0.97, "max": 0.99}
    lost = table["automatic"]["points_below_oracle"]
    assert lost["median"] == pytest.approx(2.0) and lost["max"] == pytest.approx(3.5)
    assert table["automatic"]["reached"] == {"a": True, "b": False}
    assert control.marks(table).height == 4


def test_what_a_run_says_whose_oracle_broke_the_bound_counts_for_nothing(tmp_path: Path) -> None:
    """A good share on a disturbed machine is as little worth as a bad one."""
    good = controlled(tmp_path / "good", within=0.99, accuracy=0.98)
    lucky = controlled(tmp_path / "lucky", within=1.0, accuracy=0.985, oracle_within=0.71)
    table = control.table_of([("good", "seed 1", good), ("lucky", "seed 2", lucky)])
    assert [run["verdict"] for run in table["runs"]] == ["reached", "inconclusive (disturbed)"]
    figures = table["automatic"]
    assert figures["within_share"] == {"median": 0.99, "min": 0.99, "max": 0.99}
    assert figures["reached"] == {"good": True}
    assert (figures["runs"], figures["conclusive_runs"]) == (2, 1)
    alone = control.table_of([("lucky", "seed 2", lucky)])["automatic"]
    assert alone["within_share"] is None and alone["reached"] == {}
    control.draw(control.marks(table), 200).savefig(tmp_path / "drawn.svg")
    assert "inconclusive (disturbed)" in (tmp_path / "drawn.svg").read_text()


def test_a_trace_that_was_run_again_weighs_no_more_than_another(tmp_path: Path) -> None:
    summaries = [
        (str(n), f"seed {seed}", controlled(tmp_path / str(n), within=within, accuracy=0.98))
        for n, (seed, within) in enumerate(((1, 0.96), (2, 0.98), (2, 0.99), (2, 1.0)))
    ]
    table = control.table_of(summaries)
    assert [run["run_of_trace"] for run in table["runs"]] == [1, 1, 2, 3]
    figures = table["automatic"]
    assert (figures["runs"], figures["traces"]) == (4, 2)
    assert figures["within_share"] == {"median": 0.975, "min": 0.96, "max": 0.99}


def test_runs_are_of_one_trace_where_all_their_links_follow_the_same() -> None:
    link = "{profile: lte, up: {rate_mbit: 3, trace: {generate: lte, seed: %d, peak_mbit: null}}}"
    seed = [f"network: {{access: {link % number}}}" for number in (21, 22)]
    assert control.trace_of(seed[0]) == "generate lte, seed 21"
    assert control.trace_of(seed[0]) != control.trace_of(seed[1])


def test_runs_without_control_and_no_runs_at_all_are_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SyntheticRun().write(tmp_path / "run")
    assert control.main([]) == 2
    assert control.main([str(tmp_path / "out"), str(tmp_path / "none")]) == 2
    assert control.main([str(tmp_path / "out"), str(tmp_path / "run")]) == 2
    assert "not served under automatic control and the oracle" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def controlled(folder: Path, within: float, accuracy: float, oracle_within: float = 1.0) -> Summary:
    def mode(name: str, share: float, right: float) -> ControlMode:
        return ControlMode(
            mode=name,
            begin_s=0,
            duration_s=20,
            frames=100,
            frames_due=100,
            frames_within=round(100 * share),
            within_share=share,
            passes=6,
            accuracy=Accuracy(value=right, images=300, split="validation"),
            accuracy_forecast=right,
            wire_bytes=None,
            bandwidth_reduction=None,
            switches=3,
            latency=None,
            choices=(),
        )

    modes = (mode("automatic", within, accuracy), mode("oracle", oracle_within, 0.985))
    whole = measure(read_run(SyntheticRun().write(folder))).summary
    assert whole.pipeline
    pipeline = whole.pipeline.model_copy(update={"control": Control(bound_ms=200, modes=modes)})
    return whole.model_copy(update={"pipelines": (pipeline,)})
