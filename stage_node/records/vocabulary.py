"""Words that several files of a run share, each defined once."""

from typing import Literal

Direction = Literal["a_to_b", "b_to_a"]
"""Along a link as it is declared, or against it."""

DIRECTIONS: tuple[Direction, Direction] = ("a_to_b", "b_to_a")

ClockKind = Literal["virtual", "real"]
"""Whose time an emulation keeps: the virtual clock stands still while anything of it computes."""

Verdict = Literal["pass", "warn", "fail"]
"""What the emulation says of its network: whether it was what it claims to be."""

SummaryVerdict = Literal["pass", "warn", "fail", "unknown"]
"""What a summary says of it: ``unknown`` where the run ended before its network was judged."""

VERDICTS: tuple[SummaryVerdict, ...] = ("pass", "warn", "fail", "unknown")
"""From best to worst."""
