"""The link catalogue as a person reads it."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from topologies.links.profiles import LinkProfile, catalogue, load_profiles
from topologies.networks.shaping import shape_of

AMPLE_WIDTH = 160
LEAST_SOURCE_WIDTH = 12


def show_profiles(reference: str | None, console: Console) -> None:
    """Print the catalogue, a file's profiles, or one profile in full.

    Raises BadTopologyError for an unknown name and a file that cannot be read.
    """
    if not console.is_terminal:
        console.width = AMPLE_WIDTH
    profiles = load_profiles(reference) if reference else tuple(catalogue().values())
    one = reference is not None and len(profiles) == 1
    console.print(profile_details(profiles[0]) if one else profile_table(profiles, console.width))


def profile_table(profiles: Sequence[LinkProfile], width: int) -> Table:
    """A line each: rates, one-way delays, jitter, loss, buffer, the beginning of the source.

    Columns in which nothing stands but the default are left out; the caption says so.
    """
    columns = {
        heading: [_pair(getattr(each.down, field), getattr(each.up, field)) for each in profiles]
        for heading, field in _HEADINGS.items()
    }
    left_out = [name for name, usual in _USUAL.items() if set(columns[name]) <= {usual}]
    for heading in left_out:
        del columns[heading]
    columns = {"profile": [profile.name for profile in profiles], **columns}
    table = Table(
        title="Link profiles (down / up = towards / from the user; delays are one-way)",
        title_justify="left",
        caption=_caption(left_out),
        caption_justify="left",
    )
    for heading in columns:
        table.add_column(heading, justify="left" if heading == "profile" else "right", no_wrap=True)
    taken = sum(3 + max(map(len, (name, *cells))) for name, cells in columns.items())
    # Only the source gives way where the terminal is narrow.
    source_width = max(width - taken - 4, LEAST_SOURCE_WIDTH)
    table.add_column("source", no_wrap=True, overflow="ellipsis", max_width=source_width)
    for profile, *cells in zip(profiles, *columns.values(), strict=True):
        table.add_row(*cells, Text(profile.source))
    return table


def _caption(left_out: Sequence[str]) -> str:
    usual = [f"{name}: {_USUAL[name]} everywhere" for name in left_out]
    more = "`concertina profiles NAME` shows one in full; `--help` says how to add your own"
    return "\n".join([*([", ".join(usual)] if usual else []), more])


def profile_details(profile: LinkProfile) -> RenderableType:
    """One profile in full, and the queue that the kernel is given for it."""
    table = Table(title=profile.name, title_justify="left")
    table.add_column("")
    for direction in ("down (towards the user)", "up (from the user)"):
        table.add_column(direction, justify="right")
    for label, field in _ROWS.items():
        values = [f"{getattr(one, field):g}" for one in (profile.down, profile.up)]
        table.add_row(label, *values)
    shapes = [shape_of(profile, direction) for direction in ("b_to_a", "a_to_b")]
    table.add_row(
        "buffer (bytes; a small router's at least)", *(f"{s.buffer_bytes:,}" for s in shapes)
    )
    full_ms = [shape.buffer_bytes * 8e3 / shape.rate_bit for shape in shapes]
    table.add_row("delay of a full buffer (ms)", *(f"{ms:.4g}" for ms in full_ms))
    return Group(table, _provenance(profile))


_HEADINGS = {
    "Mbit/s": "rate_mbit",
    "delay ms": "delay_ms",
    "jitter ms": "jitter_ms",
    "loss %": "loss_percent",
    "buffer BDP": "buffer_bdp",
}
_USUAL = {"jitter ms": "0", "loss %": "0", "buffer BDP": "1"}
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
