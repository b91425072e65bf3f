"""Who used a shared link: nothing is counted twice or left out, and the small are together."""

from ipaddress import IPv4Address

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.metrics.links.sharing import MOST_USERS, SHARING_SCHEMA, sharing
from analysis.metrics.links.throughput import Links
from analysis.plots.figures.throughput import Span, merged
from analysis.run.network import Network
from tests.analysis.networks import host, link

USERS = 8
MS = 10**6
NETWORK = Network(
    hosts={
        "server": host(("server-eth0", "10.0.0.100")),
        **{f"u{n}": host((f"u{n}-eth0", f"10.0.0.{n}")) for n in range(USERS)},
    },
    links=(link("backhaul", ("server", "server-eth0", "10.0.0.100"), ("s1", "s1-eth0", None)),),
    shaper="netem",
)
Packet = tuple[int, int, str]  # when (ms), bytes on the wire, which user


def links(down: list[Packet], up: list[Packet]) -> Links:
    """What went from the server to the users, and what came back."""

    def table(packets: list[Packet], *, to_server: bool) -> pl.DataFrame:
        addresses = [int(IPv4Address(f"10.0.0.{user[1:]}")) for _, _, user in packets]
        server = [int(IPv4Address("10.0.0.100"))] * len(packets)
        source, target = (addresses, server) if to_server else (server, addresses)
        return pl.DataFrame(
            {
                "t_ns": [t * MS for t, _, _ in packets],
                "wirelen": [size for _, size, _ in packets],
                "src": source,
                "dst": target,
            },
            schema={"t_ns": pl.Int64, "wirelen": pl.UInt32, "src": pl.UInt32, "dst": pl.UInt32},
        )

    received = (table(down, to_server=False), table(up, to_server=True))
    return Links(NETWORK.directions, received, received, (None, None), (None, None))


def named(user: str) -> str:
    return f"server → {user}"


packets = st.lists(
    st.tuples(
        st.integers(0, 5000),
        st.integers(64, 1514),
        st.sampled_from([f"u{n}" for n in range(USERS)]),
    ),
    min_size=1,
)


@given(packets)
def test_the_users_add_up_to_the_throughput(down: list[Packet]) -> None:
    measured = links(down, [])
    shared = sharing(NETWORK, measured, 0)
    if len({user for _, _, user in down}) == 1:
        assert shared.is_empty()
        return
    assert shared.schema == pl.Schema(SHARING_SCHEMA)
    whole = measured.throughput(0).sort("t_s")
    summed = shared.group_by("t_s").agg(pl.sum("mbit_per_s")).sort("t_s")
    assert summed["t_s"].to_list() == whole["t_s"].to_list()
    assert summed["mbit_per_s"].to_list() == pytest.approx(whole["mbit_per_s"].to_list())
    assert shared["user"].n_unique() <= MOST_USERS + 1


def test_users_are_ordered_by_their_bytes_and_the_small_ones_are_together() -> None:
    down = [(n, size, f"u{n}") for n, size in enumerate((1514, 64, 1200, 64, 64))]
    shared = sharing(NETWORK, links(down, []), 0)
    assert shared["user"].unique(maintain_order=True).to_list() == [
        named("u0"),
        named("u2"),
        "3 others",
    ]


def test_acknowledgements_of_what_others_share_are_no_use_worth_a_panel() -> None:
    down = [(n, 1514, f"u{n % 2}") for n in range(100)]
    up = [(n, 66, f"u{n % 2}") for n in range(100)]
    shared = sharing(NETWORK, links(down, up), 0)
    assert shared["label"].unique().to_list() == ["server → s1"]
    both = sharing(NETWORK, links(down, [(t, 200, user) for t, _, user in up]), 0)
    assert both["label"].unique(maintain_order=True).to_list() == ["server → s1", "s1 → server"]


def test_what_overlaps_is_shaded_once() -> None:
    spans = [Span("b", 1, 3), Span("a", 0, 2), Span("a", 1.5, 4), Span("a", 5, 6), Span("a", 2, 3)]
    assert merged(spans) == [Span("a", 0, 4), Span("b", 1, 3), Span("a", 5, 6)]
    assert merged([]) == []
