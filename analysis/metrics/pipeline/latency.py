"""End-to-end latency of the frames in the results ledger."""

import numpy as np
import numpy.typing as npt
import polars as pl

from stage_node.fringe.latency import end_to_end_ns

LATENCY_NS = end_to_end_ns(pl.col("t_admitted_ns"), pl.col("t_result_ns"))
"""Of each row of the results ledger, ns; see ``stage_node.fringe.latency``."""

LATENCY_MS = LATENCY_NS / 1e6
"""The same in ms."""


def latencies_ns(results: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Latency of each frame, in the order of the rows, ns."""
    return results.select(LATENCY_NS).to_series().to_numpy()
