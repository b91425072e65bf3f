"""Configurations of a prefix: blocks kept of each inner block, and how that is written."""

from collections.abc import Sequence

Configuration = tuple[int, ...]
"""Blocks kept of each inner block, the leftmost ones: Accordion's (b1, b2, b3)."""


def configuration_name(configuration: Sequence[int]) -> str:
    """``3-1-0`` for (3, 1, 0)."""
    return "-".join(map(str, configuration))
