"""The whole protocol between two processes: the server of the shipped checkpoints, and a UE."""

import multiprocessing
import re
import shutil
import time
from contextlib import contextmanager
from itertools import pairwise

import httpx
import pytest

from controller.accordion.lookup import read_table, table_path
from controller.accordion.serving.link_estimate import LinkEstimate
from controller.accordion.serving.process import Admissions, ServerConfiguration
from controller.accordion.serving.process import main as serve
from stage_node.accordion.protocol import ModelRequest, Sending
from stage_node.accordion.server.served_file import read_catalog
from stage_node.accordion.ue.ue import main as take_steps
from stage_node.errors import BadModelError
from stage_node.records.events import (
    Admitted,
    ConfigurationEvaluated,
    DownloadEnded,
    EventLog,
    FaultInjected,
    LinkLearned,
    Listening,
    ModelOffered,
    StepRefused,
    read_events,
)
from stage_node.repository import REPOSITORY
from stage_node.wire.tcp_info import PathEstimate

CHECKPOINTS = REPOSITORY / "testbed" / "checkpoints"
MODEL = "digits-resnet20-coml"


PRIOR = {"rate_mbit": 8, "rtt_ms": 40}


@contextmanager
def serving(folder, **options):
    """A server process that believes in 8 Mbit/s and 40 ms; yields its port and events."""
    models = folder / "models"
    shutil.copytree(CHECKPOINTS, models)
    shutil.copy(models / f"{MODEL}.safetensors", models / "bare.safetensors")
    events = folder / "events.jsonl"
    told = {
        "name": "edge",
        "ip": "127.0.0.1",
        "port": 0,
        "checkpoints": [models / f"{name}.safetensors" for name in (MODEL, "bare")],
        "estimates": {"127.0.0.1": PRIOR},
        "events_path": events,
        **options,
    }
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(told,))
    process.start()
    while not (listening := _of(events, Listening)):
        assert process.is_alive()
        time.sleep(0.05)
    yield listening[0].port, events
    process.terminate()
    process.join(10)
    assert process.exitcode == 0


@pytest.fixture
def server(tmp_path):
    """One that knows no more than the profile."""
    with serving(tmp_path / "served") as running:
        yield running


def run_ue(name, port, model, steps, events):
    told = {"name": name, "server_ip": "127.0.0.1", "server_port": port, "model": model}
    take_steps(told | {"steps": steps, "dataset": "digits", "events_path": events})


def _of(path, kind):
    return [e for e in read_events(path) if isinstance(e, kind)] if path.exists() else []


def test_a_ue_is_sent_what_its_deadline_allows_and_later_only_what_it_lacks(server, tmp_path):
    port, served = server
    events = tmp_path / "events.jsonl"
    steps = [{"deadline_ms": 150}, {"accuracy": 0.977}, {"all": True}]
    run_ue("ue1", port, MODEL, steps, events)
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
    assert [(a.estimate_source, a.estimate_mbit) for a in admitted[:1]] == [("profile", 8)]
    # The bytes of the rest suffice to tell that the loopback interface is no radio link.
    assert _of(served, LinkLearned)[-1].rate_mbit > 8
    evaluated = _of(events, ConfigurationEvaluated)
    assert [e.configuration for e in evaluated] == [e.configuration for e in table.entries]
    for event, entry in zip(evaluated, table.entries, strict=True):
        assert event.accuracy == pytest.approx(entry.accuracy, abs=0.05)


def test_a_need_that_cannot_be_met_reaches_the_ue_as_one_line(server, tmp_path):
    refused = {
        r"configuration 1-0-0 .* \(profile\), more than deadline_ms=100": {"deadline_ms": 100},
        r"no configuration of .* has accuracy 1": {"accuracy": 1.0},
        r"more than max_bytes=100": {"max_bytes": 100},
    }
    events = tmp_path / "e.jsonl"
    run_ue("u", server[0], MODEL, list(refused.values()), events)
    told = _of(events, StepRefused)
    assert [each.status for each in told] == [409] * 3
    for each, reason in zip(told, refused, strict=True):
        assert re.search(reason, each.reason)
    unknown = tmp_path / "f.jsonl"
    run_ue("u", server[0], "x", [{"accuracy": 0.5}], unknown)
    (told,) = _of(unknown, StepRefused)
    assert (told.status, "no model 'x'" in told.reason) == (404, True)


def test_the_next_request_is_admitted_by_what_the_last_one_has_taught(server, tmp_path):
    """The prior allows no more than a part by then; the loopback interface carries it all."""
    port, served = server
    events = tmp_path / "events.jsonl"
    main_steps = [{"deadline_ms": 180}]
    for _ in range(6):
        run_ue("ue1", port, MODEL, main_steps, events)
    admitted = _of(served, Admitted)
    assert admitted[0].estimate_source == "profile"
    assert admitted[-1].estimate_source == "measured"
    assert admitted[-1].estimate_mbit > 8
    assert admitted[-1].end_byte >= admitted[0].end_byte


def test_a_stream_needs_no_estimate_and_what_it_lacks_comes_later(tmp_path):
    events = tmp_path / "events.jsonl"
    steps = [{"deadline_ms": 2000, "admission": "stream", "max_bytes": 60_000}, {"all": True}]
    with serving(tmp_path / "served", estimates={}) as (port, served):
        run_ue("ue1", port, MODEL, steps, events)
    (offered,) = [o for o in _of(served, ModelOffered) if o.model == MODEL]
    ended = _of(events, DownloadEnded)
    (admitted,) = _of(served, Admitted)
    assert admitted.admission == "stream"
    assert admitted.reason == "nothing more was asked for"
    largest = max(end for end in offered.end_bytes if end <= 60_000)
    assert [(e.first_byte, e.end_byte) for e in ended] == [
        (0, largest),
        (largest, offered.end_bytes[-1]),
    ]


def test_a_stream_that_could_bring_nothing_in_time_is_refused(tmp_path):
    events = tmp_path / "events.jsonl"
    with serving(tmp_path / "served", estimates={"127.0.0.1": PRIOR | {"rate_mbit": 0.5}}) as (
        port,
        _,
    ):
        steps = [{"deadline_ms": 100, "admission": "stream"}]
        run_ue("ue1", port, MODEL, steps, events)
    (told,) = _of(events, StepRefused)
    assert told.status == 409
    assert re.fullmatch(
        rf"not even 1-0-0 of {MODEL}: the next \d+ bytes would be there after \d+ ms, "
        "deadline_ms=100",
        told.reason,
    )


def test_whatever_goes_wrong_on_the_way_the_ue_has_the_model_in_the_end(tmp_path):
    events = tmp_path / "events.jsonl"
    faults = [{"flip_byte": 50}, {"cut_at_byte": 30_000}, {"flip_byte": 90_000, "times": 2}]
    with serving(tmp_path / "served", faults=faults) as (port, served):
        run_ue("ue1", port, MODEL, [{"all": True}], events)
    assert len(_of(served, FaultInjected)) == 4
    table = read_table(CHECKPOINTS / f"{MODEL}.safetensors")
    evaluated = _of(events, ConfigurationEvaluated)
    assert [e.configuration for e in evaluated] == [e.configuration for e in table.entries]
    outcomes = [e.outcome for e in _of(events, DownloadEnded)]
    assert sorted(outcomes) == ["complete", "damaged", "damaged", "damaged", "interrupted"]


@pytest.mark.parametrize("damage", [lambda b: b[:-7], lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_a_server_with_a_damaged_checkpoint_does_not_start(tmp_path, damage):
    path = tmp_path / "m.safetensors"
    path.write_bytes(damage((CHECKPOINTS / f"{MODEL}.safetensors").read_bytes()))
    with pytest.raises(BadModelError, match=r"m\.safetensors is cut off or altered"):
        serve(
            ServerConfiguration(
                name="edge",
                ip="127.0.0.1",
                port=0,
                checkpoints=(path,),
                estimates={},
                events_path=tmp_path / "events.jsonl",
            )
        )


def test_a_checkpoint_without_a_table_is_a_plain_file(server):
    url = f"http://127.0.0.1:{server[0]}/models/bare.safetensors"
    refused = httpx.get(url, params={"accuracy": 0.5})
    assert refused.status_code == 409
    assert "bare has no look-up table" in refused.json()["error"]
    whole = CHECKPOINTS / f"{MODEL}.safetensors"
    assert httpx.get(url).content == whole.read_bytes()
    assert table_path(whole).exists()


def test_a_refused_stream_is_reckoned_anew_and_not_refused_for_ever(tmp_path):
    """One bad measurement of the link must not shut a UE out: refusals lead back to the profile."""
    with EventLog(tmp_path / "events.jsonl", "edge") as events:
        admissions = Admissions(
            read_catalog([CHECKPOINTS / f"{MODEL}.safetensors"]),
            {},
            {"127.0.0.1": LinkEstimate(**PRIOR)},
            events,
        )
        crawl = PathEstimate(40, 0.01, min_rtt_ms=40, acked_bytes=100_000, busy_ms=60_000)
        admissions.learn("127.0.0.1", crawl)
        request = ModelRequest(model=MODEL, deadline_ms=400, admission="stream")
        fresh = Sending(40, 0, PathEstimate(40, 0.0, min_rtt_ms=40))
        refusals = 0
        while True:
            streaming = admissions.admit(request, "127.0.0.1")
            if streaming.objection(fresh, streaming.blocks[0].end_byte, False) is None:
                break
            streaming.refused()
            refusals += 1
            assert refusals < 20
    assert refusals > 0
