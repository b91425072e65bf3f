"""The whole protocol between two processes: the server of the shipped checkpoints, and a UE."""

import multiprocessing
import shutil
import time
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from controller.accordion.lookup import read_table, table_path
from controller.accordion.serve import main as serve
from stage_node.download import DeliveryError
from stage_node.events import (
    Admitted,
    ConfigurationEvaluated,
    DownloadEnded,
    Listening,
    read_events,
)
from stage_node.ue import main as run_ue

CHECKPOINTS = Path(__file__).parents[2] / "testbed" / "checkpoints"
MODEL = "digits-resnet20-coml"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server process that believes in 8 Mbit/s and 40 ms; yields its port and events."""
    folder = tmp_path_factory.mktemp("served")
    models = folder / "models"
    shutil.copytree(CHECKPOINTS, models)
    shutil.copy(models / f"{MODEL}.safetensors", models / "bare.safetensors")
    events = folder / "events.jsonl"
    process = multiprocessing.get_context("spawn").Process(
        target=serve,
        kwargs={
            "name": "edge",
            "ip": "127.0.0.1",
            "port": 0,
            "models_dir": str(models),
            "estimates": {"127.0.0.1": {"rate_mbit": 8, "rtt_ms": 40}},
            "events_path": str(events),
        },
    )
    process.start()
    while not (listening := _of(events, Listening)):
        assert process.is_alive()
        time.sleep(0.05)
    yield listening[0].port, events
    process.terminate()
    process.join(10)
    assert process.exitcode == 0


def _of(path, kind):
    return [e for e in read_events(path) if isinstance(e, kind)] if path.exists() else []


def test_a_ue_is_sent_what_its_deadline_allows_and_later_only_what_it_lacks(server, tmp_path):
    port, served = server
    events = tmp_path / "events.jsonl"
    steps = [{"deadline_ms": 150}, {"accuracy": 0.977}, {"all": True}]
    run_ue("ue1", "127.0.0.1", port, MODEL, steps, "digits", str(events))
    table = read_table(CHECKPOINTS / f"{MODEL}.safetensors")
    downloads = _of(events, DownloadEnded)
    assert downloads[0].first_byte == 0
    assert downloads[-1].end_byte == table.entries[-1].end_byte
    for earlier, later in pairwise(downloads):
        assert earlier.end_byte == later.first_byte
    admitted = _of(served, Admitted)
    assert [a.end_byte for a in admitted] == [d.end_byte for d in downloads[:2]]
    assert table.entries[0].end_byte < admitted[0].end_byte < table.entries[-1].end_byte
    wanted = next(e for e in table.entries if e.accuracy >= 0.977)
    assert admitted[1].configuration == wanted.configuration
    evaluated = _of(events, ConfigurationEvaluated)
    assert [e.configuration for e in evaluated] == [e.configuration for e in table.entries]
    for event, entry in zip(evaluated, table.entries, strict=True):
        assert event.accuracy == pytest.approx(entry.accuracy, abs=0.05)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"deadline_ms": 100}, r"\(409\): configuration 1-0-0 .* more than deadline_ms=100"),
        ({"accuracy": 1.0}, r"\(409\): no configuration of .* has accuracy 1"),
        ({"max_bytes": 100}, r"\(409\): .* more than max_bytes=100"),
    ],
)
def test_a_need_that_cannot_be_met_reaches_the_ue_as_one_line(server, tmp_path, step, reason):
    with pytest.raises(DeliveryError, match=reason):
        run_ue("u", "127.0.0.1", server[0], MODEL, [step], "digits", str(tmp_path / "e.jsonl"))


def test_a_checkpoint_without_a_table_is_a_plain_file(server):
    url = f"http://127.0.0.1:{server[0]}/models/bare.safetensors"
    refused = httpx.get(url, params={"accuracy": 0.5})
    assert refused.status_code == 409
    assert "bare has no look-up table" in refused.json()["error"]
    whole = CHECKPOINTS / f"{MODEL}.safetensors"
    assert httpx.get(url).content == whole.read_bytes()
    assert table_path(whole).exists()
