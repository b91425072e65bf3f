"""Every captured packet of a run in one table, with where and what it was."""

from pathlib import Path

import polars as pl
import pytest

from analysis.run.reader import Run, read_run
from analysis.tcp.connections import CapturedStreams
from analysis.trace.packet_table import RUN_PACKET_SCHEMA, packet_table, write_packets
from tests.analysis.synthetic_run import SyntheticRun


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return read_run(SyntheticRun().write(tmp_path_factory.mktemp("table") / "run"))


@pytest.fixture(scope="module")
def packets(run: Run) -> pl.DataFrame:
    return packet_table(run, CapturedStreams(run))


def test_no_packet_is_left_out_and_none_is_counted_twice(run: Run, packets: pl.DataFrame) -> None:
    assert packets.schema == pl.Schema(RUN_PACKET_SCHEMA)
    assert packets["t_ns"].is_sorted()
    captured = {interface: table.height for interface, table in run.captures.items()}
    assert dict(packets["interface"].value_counts().rows()) == captured


def test_a_lost_segment_is_seen_once_and_then_sent_again(packets: pl.DataFrame) -> None:
    sent = packets.filter(pl.col("end") == "sender", pl.col("is_tcp"))
    lost = sent.filter(pl.col("delay_ns").is_null())
    assert lost.height >= 1
    for row in lost.iter_rows(named=True):
        again = sent.filter(
            pl.col("t_ns") > row["t_ns"],
            *(pl.col(name) == row[name] for name in ("link", "flow", "offset", "payload_len")),
        )
        assert again.height == 1
        assert again["kind"][0] in ("retransmission", "fast_retransmission")
    assert (sent["delay_ns"].drop_nulls() > 0).all()


def test_each_end_has_its_direction(packets: pl.DataFrame) -> None:
    """What arrives somewhere had left from the other end of the same link."""
    for (link, direction), both in packets.drop_nulls("end").group_by("link", "direction"):
        interfaces = both.group_by("end").agg(pl.col("interface").unique()).to_dict()
        assert all(len(each) == 1 for each in interfaces["interface"]), (link, direction)
        count = dict(both["end"].value_counts().rows())
        assert (
            count["sender"] - count["receiver"]
            == both.filter(pl.col("end") == "sender")["delay_ns"].null_count()
        )


@pytest.mark.parametrize("name", ["packets.csv", "packets.parquet"])
def test_the_table_can_be_taken_elsewhere(packets: pl.DataFrame, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_packets(packets, path)
    read = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
    same = ["t_ns", "link", "flow", "offset", "kind", "delay_ns", "seq", "window"]
    for column in same:
        assert read[column].cast(pl.String).to_list() == packets[column].cast(pl.String).to_list()
    first = "10.0.0.1" if path.suffix == ".csv" else 0x0A000001
    assert first in set(read["src"])
