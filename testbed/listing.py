"""The link catalogue as a person reads it."""

from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from topologies.profiles import LinkProfile, catalogue, load_profile


def profile_table() -> Table:
    """All profiles, a line each: rates, one-way delays, loss, the beginning of the source."""
    table = Table(
        title="Link profiles (down / up = towards / from the user; delays are one-way)",
        caption="`concertina profiles NAME` shows one in full, with its source",
    )
    for heading in ("profile", "down", "up", "delay", "loss"):
        unit = {"down": " Mbit/s", "up": " Mbit/s", "delay": " ms", "loss": " %"}.get(heading, "")
        justify: Literal["left", "right"] = "right" if unit else "left"
        table.add_column(heading + unit, justify=justify, no_wrap=True)
    table.add_column("source", no_wrap=True, overflow="ellipsis")
    for profile in catalogue().values():
        table.add_row(
            profile.name,
            f"{profile.down.rate_mbit:g}",
            f"{profile.up.rate_mbit:g}",
            _pair(profile.down.delay_ms, profile.up.delay_ms),
            _pair(profile.down.loss_percent, profile.up.loss_percent),
            profile.source,
        )
    return table


def profile_details(name: str) -> RenderableType:
    """One profile in full; raises BadTopologyError for an unknown name."""
    profile = load_profile(name)
    table = Table(title=profile.name)
    table.add_column("")
    for direction in ("down (towards the user)", "up (from the user)"):
        table.add_column(direction, justify="right")
    for label, field in _ROWS.items():
        values = [f"{getattr(one, field):g}" for one in (profile.down, profile.up)]
        table.add_row(label, *values)
    return Group(table, _provenance(profile))


_ROWS = {
    "rate (Mbit/s)": "rate_mbit",
    "one-way delay (ms)": "delay_ms",
    "jitter (ms)": "jitter_ms",
    "loss (%)": "loss_percent",
    "buffer (bandwidth-delay products)": "buffer_bdp",
}


def _provenance(profile: LinkProfile) -> Text:
    lines = [f"source:  {profile.source}", f"latency: {profile.latency}"]
    return Text("\n".join(lines), overflow="fold")


def _pair(down: float, up: float) -> str:
    return f"{down:g}" if down == up else f"{down:g} / {up:g}"
