"""Users of a link that several share: the throughput of each pair of hosts, over time."""

from ipaddress import IPv4Address

import numpy as np
import polars as pl

from analysis.metrics.links.throughput import THROUGHPUT_SCHEMA, Links
from analysis.run.network import LinkDirection, Network
from analysis.wording import counted

LEAST_SHARE = 0.05
"""Of a direction's bytes, to be one of its users; of its link's busier direction, to be shown."""

ARROW = " → "
"""Between the two hosts of a user; the rest, shown as one, have none."""

MOST_USERS = 5
"""With more, the rest are shown as one."""

SHARING_SCHEMA: dict[str, type[pl.DataType]] = {
    "link": THROUGHPUT_SCHEMA["link"],
    "direction": THROUGHPUT_SCHEMA["direction"],
    "label": THROUGHPUT_SCHEMA["label"],
    "user": pl.String,
    "t_s": THROUGHPUT_SCHEMA["t_s"],
    "mbit_per_s": THROUGHPUT_SCHEMA["mbit_per_s"],
}
"""As ``THROUGHPUT_SCHEMA``, divided by who sent to whom (``user``: "server → phone")."""


def sharing(network: Network, links: Links, zero_ns: int) -> pl.DataFrame:
    """Columns of ``SHARING_SCHEMA``, of every direction that at least two pairs of hosts share.

    A direction that carries little more than acknowledgements of the other is left out. Users are
    ordered by their bytes, most first; every user has every bin. Bins and bytes are as in
    ``Links.throughput``.
    """
    parts = [pl.DataFrame(schema=SHARING_SCHEMA)]
    carried = dict(zip(links.directions, links.received, strict=True))
    sizes = {each: int(packets["wirelen"].sum()) for each, packets in carried.items()}
    for each, packets in carried.items():
        busier = max(size for other, size in sizes.items() if other.link == each.link)
        if sizes[each] < LEAST_SHARE * busier or not sizes[each]:
            continue
        divided = _divided(network, packets)
        if divided["user"].n_unique() > 1:
            parts.append(_over_time(each, divided, links.bin_ns, zero_ns))
    return pl.concat(parts)


def _divided(network: Network, packets: pl.DataFrame) -> pl.DataFrame:
    """The packets, each with its ``user``."""
    hosts = {
        int(IPv4Address(ip)): name
        for name, host in network.hosts.items()
        for ip in host.interfaces.values()
    }
    source, target = (
        pl.col(end).replace_strict(hosts, default="?", return_dtype=pl.String)
        for end in ("src", "dst")
    )
    named = packets.select(
        "t_ns", "wirelen", pl.concat_str(source, target, separator=ARROW).alias("user")
    )
    totals = named.group_by("user").agg(pl.col("wirelen").sum()).sort("wirelen", descending=True)
    users = totals.filter(pl.col("wirelen") >= LEAST_SHARE * pl.sum("wirelen"))
    shown = users["user"].head(MOST_USERS)
    others = counted(totals.height - len(shown), "other")
    return named.with_columns(
        pl.when(pl.col("user").is_in(shown.implode())).then("user").otherwise(pl.lit(others))
    )


def _over_time(
    direction: LinkDirection, divided: pl.DataFrame, bin_ns: int, zero_ns: int
) -> pl.DataFrame:
    bins = (divided["t_ns"].to_numpy() - zero_ns) // bin_ns
    first, count = int(bins.min()), int(np.ptp(bins)) + 1
    sizes = divided["wirelen"].to_numpy()
    totals = divided.group_by("user").agg(pl.col("wirelen").sum())
    last = ~pl.col("user").str.contains(ARROW, literal=True)
    users = totals.sort(last, "wirelen", descending=[False, True])["user"]
    parts = []
    for user in users:
        mine = (divided["user"] == user).to_numpy()
        carried = np.bincount(bins[mine] - first, weights=sizes[mine], minlength=count)
        parts.append(
            pl.DataFrame(
                {
                    "link": [direction.link] * count,
                    "direction": [direction.direction] * count,
                    "label": [direction.label] * count,
                    "user": [user] * count,
                    "t_s": (first + np.arange(count)) * bin_ns / 1e9,
                    "mbit_per_s": carried * 8e3 / bin_ns,
                },
                schema=SHARING_SCHEMA,
            )
        )
    return pl.concat(parts)
