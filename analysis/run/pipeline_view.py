"""A run as one of its pipelines sees it: every figure of a pipeline is made of such a view.

What its controller told, and what its stages wrote down; the network, its captures and all other
events are common to all.
"""

from dataclasses import replace

import polars as pl

from analysis.run.reader import Run
from stage_node.records.events import PartitionChosen


def pipeline_views(run: Run) -> tuple[Run, ...]:
    """One view per pipeline that was handed out to its hosts, in the order of the experiment."""
    asked = list(run.targets)
    partitions = sorted(
        run.events_of(PartitionChosen),
        key=lambda told: asked.index(told.pipeline) if told.pipeline in asked else len(asked),
    )
    controllers = {partition.who for partition in partitions}
    return tuple(_view(run, partition, controllers) for partition in partitions)


def partition_of(view: Run) -> PartitionChosen:
    """The pipeline whose view it is."""
    (partition,) = view.events_of(PartitionChosen)
    return partition


def _view(run: Run, partition: PartitionChosen, controllers: set[str]) -> Run:
    others = controllers - {partition.who}
    return replace(
        run,
        events=tuple(event for event in run.events if event.who not in others),
        frames=of_hosts(run.frames, partition.hosts),
        compute=of_hosts(run.compute, partition.hosts),
        results=of_hosts(run.results, partition.hosts),
    )


def of_hosts(rows: pl.DataFrame, hosts: tuple[str, ...]) -> pl.DataFrame:
    """The rows of a ledger that a pipeline's stages wrote; ledgers that do not say whose results
    they hold are of runs with one pipeline."""
    return rows.filter(pl.col("node").is_in(list(hosts)).fill_null(True))
