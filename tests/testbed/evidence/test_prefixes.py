"""Evidence on Accordion: the error of every prefix, and when it was there."""

import json

import polars as pl
import pytest
import torch

from analysis.metrics.measure import measure
from analysis.report.build import build_report
from analysis.run.reader import read_run
from controller.accordion.accuracy import evaluate
from stage_node.data import load_dataset
from stage_node.models import load_checkpoint
from testbed.evidence import arrival, deadlines, downloads, prefixes
from testbed.experiment.file import CHECKPOINTS
from tests.analysis.synthetic_run import SyntheticRun


def test_every_prefix_is_measured_on_all_test_images_once(tmp_path, capsys):
    command = [str(tmp_path), "chain=digits-vgg8", "digits-vit4"]
    assert prefixes.main(command) == 0
    table = json.loads((tmp_path / "table.json").read_text())
    assert list(table["labels"]) == ["chain", "digits-vit4"]
    (chain,) = table["labels"]["chain"]
    assert chain["images"] == 300 and chain["command"].startswith("concertina train --family vgg")
    whole = chain["configurations"][-1]
    digits, path = load_dataset("digits"), CHECKPOINTS / "digits-vgg8.safetensors"
    assert whole["bytes"] == path.stat().st_size
    assert whole["accuracy"] == evaluate(load_checkpoint(path), digits.test)
    capsys.readouterr()
    drawn = (tmp_path / "error-against-bytes.svg").read_bytes()
    assert prefixes.main(command) == 0
    assert capsys.readouterr().out == ""  # nothing is measured again
    assert (tmp_path / "error-against-bytes.svg").read_bytes() == drawn


def test_an_interrupted_measurement_keeps_what_is_known_of_files_named_later(tmp_path, monkeypatch):
    assert prefixes.main([str(tmp_path), "digits-vit4"]) == 0
    known = json.loads((tmp_path / "table.json").read_text())["labels"]["digits-vit4"]

    def interrupted(path, data_folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(prefixes, "measured", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prefixes.main([str(tmp_path), "digits-vit4", "digits-vgg8"])
    with pytest.raises(KeyboardInterrupt):
        prefixes.main([str(tmp_path), "digits-vgg8", "digits-vit4"])
    after = json.loads((tmp_path / "table.json").read_text())["labels"]
    assert after == {"digits-vit4": known}


def test_a_file_that_was_renamed_is_measured_once_and_has_its_new_name(tmp_path, capsys):
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    old.write_bytes((CHECKPOINTS / "digits-vit4.safetensors").read_bytes())
    assert prefixes.main([str(tmp_path / "out"), f"a={old}"]) == 0
    capsys.readouterr()
    old.rename(new)
    assert prefixes.main([str(tmp_path / "out"), f"a={new}"]) == 0
    assert capsys.readouterr().out == ""
    (file,) = json.loads((tmp_path / "out/table.json").read_text())["labels"]["a"]
    assert file["file"] == "new.safetensors"


def test_seeds_of_one_training_are_told_by_mean_and_deviation():
    def file(accuracy):
        return {"configurations": [{"configuration": [1, 0], "bytes": 10, "accuracy": accuracy}]}

    data = prefixes.curves({"labels": {"a": [file(0.9), file(0.7)], "b": [file(0.5)]}})
    assert data["seeds"].to_list() == [2, 1]
    assert data["error_mean"].to_list() == pytest.approx([0.2, 0.5])
    assert data["error_deviation"][0] == pytest.approx(torch.tensor([0.1, 0.3]).std().item())
    assert data["error_deviation"][1] is None


def test_an_unknown_checkpoint_is_one_line_and_status_2(tmp_path, capsys):
    assert prefixes.main([str(tmp_path), "x=nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def table_of(model, accuracies):
    """What ``prefixes`` writes of one file of the synthetic run's configurations."""
    points = [
        {"configuration": [blocks] * 3, "bytes": size, "accuracy": accuracy}
        for blocks, size, accuracy in zip(
            (1, 2, 3), (30_000, 60_000, 100_000), accuracies, strict=True
        )
    ]
    return {"labels": {"a": [{"file": f"{model}.safetensors", "configurations": points}]}}


def synthetic(folder, link):
    run = SyntheticRun(pipeline=False).write(folder)
    (run / "experiment.yaml").write_text(f"name: x\nnetwork: {{links: {{profile: {link}}}}}\n")
    return run


def test_errors_of_all_images_stand_at_the_times_of_the_runs(tmp_path):
    runs = [synthetic(tmp_path / link, link) for link in ("lte", "dsl")]
    table, out = tmp_path / "table.json", tmp_path / "out"
    table.write_text(json.dumps(table_of("digits", (0.5, 0.7, 0.9))))
    assert arrival.main([str(out), str(table), *map(str, runs)]) == 0
    rows = pl.DataFrame(json.loads((out / "error-over-time.json").read_text()))
    assert rows["link"].to_list() == ["dsl"] * 3 + ["lte"] * 3
    assert rows["error"].to_list() == pytest.approx([0.5, 0.3, 0.1] * 2)
    assert rows["delivered_s"][0] == pytest.approx(0.0479, abs=1e-4)  # as the wire was made
    assert (out / "error-over-time.svg").exists()


NO_TABLES = ("not JSON", "[]", '{"labels": []}', '{"labels": {"a": [{"file": "x"}]}}')


@pytest.mark.parametrize("content", [None, *NO_TABLES])
def test_what_is_no_table_is_one_line_and_status_2(tmp_path, capsys, content):
    table = tmp_path / "table.json"
    if content is not None:
        table.write_text(content)
    assert arrival.main([str(tmp_path / "out"), str(table), str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {table}: no table of testbed.evidence.prefixes: ")


@pytest.mark.parametrize("content", NO_TABLES)
def test_a_damaged_table_is_not_written_over(tmp_path, capsys, content):
    table = tmp_path / "table.json"
    table.write_text(content)
    assert prefixes.main([str(tmp_path), "digits-vit4"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {table}: no table of testbed.evidence.prefixes: ")
    assert table.read_text() == content


def test_a_model_that_the_table_does_not_know_is_one_line_and_status_2(tmp_path, capsys):
    run, table = synthetic(tmp_path / "run", "lte"), tmp_path / "table.json"
    table.write_text(json.dumps(table_of("another", (0.5, 0.7, 0.9))))
    assert arrival.main([str(tmp_path / "out"), str(table), str(run)]) == 2
    assert "the table has no 1-1-1 of digits" in capsys.readouterr().err


def test_deadlines_kept_are_those_of_the_runs_own_summary(tmp_path):
    run, out = synthetic(tmp_path / "run", "lte"), tmp_path / "out"
    assert deadlines.main([str(out), str(run)]) == 0
    (row,) = json.loads((out / "deadlines.json").read_text())
    summary = measure(read_run(run)).summary
    asked = summary.accordion.requests
    assert [row["requests"], row["met"]] == [len(asked), sum(each.met for each in asked)]
    assert row["useful_share"] == [each.useful_share for each in asked]
    assert row["fidelity"] == summary.fidelity.verdict
    drawn = (out / "deadlines.svg").read_bytes()
    assert deadlines.main([str(out), str(run)]) == 0
    assert (out / "deadlines.svg").read_bytes() == drawn


def test_a_run_without_deadlines_is_one_line_and_status_2(tmp_path, capsys):
    run = SyntheticRun(accordion=False).write(tmp_path / "run")
    assert deadlines.main([str(tmp_path / "out"), str(run)]) == 2
    assert "nothing was asked for within a deadline" in capsys.readouterr().err


def test_downloads_stand_beside_their_least_time_as_the_run_s_summary_has_them(tmp_path):
    run, out = synthetic(tmp_path / "run", "lte"), tmp_path / "out"
    summary = build_report(run)
    assert downloads.main([str(out), str(run)]) == 0
    rows = pl.read_csv(out / "downloads.csv")
    known = [each for each in summary.accordion.downloads if each.expected is not None]
    assert known and rows["duration_ms"].to_list() == [each.duration_ms for each in known]
    assert rows["excess_percent"].to_list() == pytest.approx([100 * each.excess for each in known])
    assert set(rows["initial_window"]) == {"default"} and set(rows["verdict"]) == {"pass"}
    drawn = (out / "downloads.svg").read_bytes()
    assert downloads.main([str(out), str(run)]) == 0
    assert (out / "downloads.svg").read_bytes() == drawn


def test_a_run_without_downloads_is_one_line_and_status_2(tmp_path, capsys):
    run = SyntheticRun(accordion=False).write(tmp_path / "run")
    for done in (lambda: None, lambda: build_report(run)):
        done()
        assert downloads.main([str(tmp_path / "out"), str(run)]) == 2
        assert "has no summary of downloads" in capsys.readouterr().err
