"""What the simulated run's loop did, and what both of its measurements found."""

from collections.abc import Iterator

from stage_node.records.events import Event, FrozenHash, Iteration, LoopEnded, Measurement

MS = 1_000_000
HEADER_BYTES = 64
BATCH = 4
SPLIT_BYTES = {"before": (16_000, 8_000), "after": (4_000, 2_000)}
FRAMES = 100
PERIOD_MS = 15


def loop_events(plan: dict[str, int], end_ns: int) -> Iterator[Event]:
    """What the controller tells of the loop and of both measurements."""
    windows = {
        "before": ("uncompressed", "uncompressed"),
        "after": ("4 of 16 channels", "4 of 32 channels"),
    }
    bytes_per_cut = {
        label: tuple((HEADER_BYTES + size) / BATCH for size in sizes)
        for label, sizes in SPLIT_BYTES.items()
    }
    steps = (
        (0, None, "before", 0.98, "baseline", "uncompressed"),
        (1, 0, "after", 0.97, "kept", "cut 0 narrowed"),
        (2, 1, "before", 0.90, "rolled back", "accuracy floor 0.95 would break"),
        (3, 1, "after", 0.965, "target met", "byte target reached"),
    )
    for index, cut, label, accuracy, outcome, reason in steps:
        yield Iteration(
            t_ns=plan["before"] + (1700 + index * 200) * MS,
            who="controller",
            index=index,
            cut=cut,
            generation=index,
            rungs=windows[label],
            accuracy=accuracy,
            samples=300,
            latency_ms_median=40.0 - 5 * index,
            bytes_per_inference=bytes_per_cut[label],
            outcome=outcome,
            reason=reason,
        )
    for label, generation in (("before", 0), ("after", 2)):
        begin = plan[label]
        yield Measurement(
            t_ns=begin + FRAMES * PERIOD_MS * MS,
            who="controller",
            label=label,
            generation=generation,
            rungs=windows[label],
            begin_ns=begin + 2 * PERIOD_MS * MS,  # two frames warm up
            end_ns=begin + FRAMES * PERIOD_MS * MS,
            accuracy=0.98 if label == "before" else 0.965,
            samples=300,
            split="test",
        )
    yield LoopEnded(
        t_ns=end_ns,
        who="controller",
        reached=True,
        generation=3,
        rungs=("4 of 16 channels", "4 of 32 channels"),
        reason="byte target reached",
    )
    yield FrozenHash(t_ns=end_ns, who="controller", before="ab" * 32, after="ab" * 32)
