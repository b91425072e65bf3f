"""A run directory is read, or one clear line says what it lacks."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.errors import NotARunError
from analysis.run.clock import Clock
from analysis.run.ledger import LEDGER_SCHEMA
from analysis.run.network import Network
from analysis.run.reader import read_run
from tests.analysis.conftest import Known
from tests.analysis.networks import host, link


def test_every_time_is_on_the_emulation_s_monotonic_clock(known: Known) -> None:
    run = known.measured.run
    sent = known.truth.first_out_ns["before", 0, 0]
    nearest = (run.captures["ue1-eth0"]["t_ns"] - sent).abs().min()
    assert nearest is not None
    assert nearest <= 1


@given(
    offset=st.integers(1_600_000_000 * 10**9, 1_900_000_000 * 10**9),
    drift=st.integers(-50_000_000, 50_000_000),
    span=st.integers(10**9, 3600 * 10**9),
)
def test_the_clock_is_exact_at_its_pairs_and_between_them_on_the_line(
    offset: int, drift: int, span: int
) -> None:
    start = 12_345_678_901_234
    clock = Clock((start, start + span), (start + offset, start + span + offset + drift))
    realtimes = np.array([start + offset, start + span + offset + drift])
    assert clock.to_monotonic(realtimes).tolist() == [start, start + span]
    middle = np.array([start + offset + (span + drift) // 2])
    assert abs(int(clock.to_monotonic(middle)[0]) - (start + span // 2)) <= 2


@pytest.mark.parametrize("name", ["manifest.json", "network.json", "events.jsonl"])
def test_what_every_run_has_must_be_there(copied: Callable[[], Path], name: str) -> None:
    path = copied()
    (path / name).unlink()
    with pytest.raises(NotARunError, match=f"{name} is missing"):
        read_run(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("manifest.json", "{", "not JSON"),
        ("manifest.json", "{}", "name: Field required"),
        ("manifest.json", '{"schema": 7}', "schema 7 is of a newer Concertina"),
        ("network.json", '{"hosts": {}}', "links: Field required"),
        ("network.json", '{"schema": 2}', "schema 2 is of a newer Concertina"),
        ("fidelity.json", '{"verdict": "splendid"}', "verdict"),
        ("events.jsonl", '{"kind": "of magic"}\n', "not an event log"),
        ("ledger/frames.parquet", "text", "not a frames table"),
    ],
)
def test_a_wrong_file_is_named(
    copied: Callable[[], Path], name: str, content: str, message: str
) -> None:
    path = copied()
    (path / name).write_text(content)
    with pytest.raises(NotARunError, match=message) as caught:
        read_run(path)
    assert name.split("/")[-1] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_that_was_killed_before_its_manifest_was_complete_is_read(
    copied: Callable[[], Path],
) -> None:
    path = copied()
    manifest = json.loads((path / "manifest.json").read_text())
    told = {name: manifest.pop(name) for name in ("machine", "clock")}
    with pytest.raises(NotARunError, match=r"manifest\.json has no clock pairs"):
        (path / "manifest.json").write_text(json.dumps(manifest))
        read_run(path)
    (path / "machine.json").write_text(json.dumps(told))
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert read_run(path).captures


def test_no_directory_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotARunError, match="no such directory"):
        read_run(tmp_path / "nowhere")


def test_a_table_without_a_column_is_refused(copied: Callable[[], Path]) -> None:
    path = copied()
    pl.DataFrame({"sequence": [1]}).write_parquet(path / "ledger" / "results.parquet")
    with pytest.raises(NotARunError, match="not a results table"):
        read_run(path)


def test_a_lost_capture_is_a_problem_not_the_end(copied: Callable[[], Path]) -> None:
    path = copied()
    (path / "captures" / "ue1-eth0.pcap").unlink()
    run = read_run(path)
    assert run.captures["ue1-eth0"].is_empty()
    assert run.problems == ("capture ue1-eth0.pcap is missing",)


def test_an_unreadable_capture_is_a_problem_too(copied: Callable[[], Path]) -> None:
    path = copied()
    (path / "captures" / "ue1-eth0.pcap").write_bytes(b"")
    problems = read_run(path).problems
    assert len(problems) == 1
    assert problems[0].startswith("capture ue1-eth0.pcap cannot be read")


@pytest.mark.parametrize("table", list(LEDGER_SCHEMA))
def test_a_missing_table_of_the_ledger_is_a_problem(copied: Callable[[], Path], table: str) -> None:
    path = copied()
    (path / "ledger" / f"{table}.parquet").rename(path / "ledger" / f"{table}-ue1.npy")
    problems = read_run(path).problems
    assert len(problems) == 1
    assert f"the table {table} is missing" in problems[0]


def star() -> Network:
    addresses = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}
    return Network(
        hosts={name: host((f"{name}-eth0", ip)) for name, ip in addresses.items()},
        links=tuple(
            link(f"{name}-s1", (name, f"{name}-eth0", ip), ("s1", f"s1-eth{n}", None))
            for n, (name, ip) in enumerate(addresses.items())
        ),
        shaper="netem",
    )


def test_in_a_star_a_link_carries_its_host_s_packets_one_way_and_all_others_back() -> None:
    away, back = star().directions[:2]
    assert away.sources == {"10.0.0.1"}
    assert back.sources == {"10.0.0.2", "10.0.0.3"}


def test_the_way_between_hosts_leads_over_the_switch() -> None:
    steps = star().path("a", "c")
    assert [(step.link, step.direction) for step in steps] == [
        ("a-s1", "a_to_b"),
        ("c-s1", "b_to_a"),
    ]
    assert star().path("a", "nobody") == ()


def shared_access() -> Network:
    """Two UEs on plain cables, one access link, as older runs described it."""
    return Network(
        hosts={
            "ue1": host(("ue1-eth0", "10.0.0.1")),
            "ue2": host(("ue2-eth0", "10.0.0.2")),
            "edge": host(("edge-eth0", "10.0.0.3")),
        },
        links=(link("ran-edge", ("ran", "ran-eth2", None), ("edge", "edge-eth0", "10.0.0.3")),),
        shaper="netem",
    )


def test_hosts_on_cables_send_through_the_switch_s_link() -> None:
    up, down = shared_access().directions
    assert up.sources == {"10.0.0.1", "10.0.0.2"}
    assert down.sources == {"10.0.0.3"}
    assert shared_access().path("edge", "ue2") == (down,)


def test_a_run_that_was_never_judged_has_the_clock_of_its_manifest(
    copied: Callable[[], Path],
) -> None:
    path = copied()
    (path / "fidelity.json").unlink()
    manifest = json.loads((path / "manifest.json").read_text())
    for clock in ("virtual", "real"):
        (path / "manifest.json").write_text(json.dumps(manifest | {"clock_kind": clock}))
        fidelity = read_run(path).fidelity
        assert (fidelity.verdict, fidelity.clock) == ("unknown", clock)
