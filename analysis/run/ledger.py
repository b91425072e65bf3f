"""Reads the tables of a run's ledger; their columns are those that the processes write."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from analysis.errors import NotARunError, first_line
from stage_node.records.events import SERVING_PHASES, Event, PartitionChosen, Phase
from stage_node.records.ledger import LATER_COLUMNS, TABLES
from stage_node.records.run_directory import RunDirectory

_POLARS: Mapping[str, type[pl.DataType]] = {"S": pl.String, "i4": pl.Int32, "i8": pl.Int64}


def _schema(dtype: np.dtype[np.void]) -> dict[str, type[pl.DataType]]:
    """Columns of a table in Parquet."""
    kinds = {name: dtype[name] for name in dtype.names or ()}
    return {
        name: _POLARS["S" if kind.kind == "S" else kind.str[1:]] for name, kind in kinds.items()
    }


LEDGER_SCHEMA = {table: _schema(dtype) for table, dtype in TABLES.items()}
"""Tables of the ledger and their columns."""


def read_table(
    run: RunDirectory, table: str, events: Sequence[Event], problems: list[str]
) -> pl.DataFrame:
    """Read one table of the ledger; empty if there is none, a problem if a pipeline served.

    Raises ``NotARunError`` for a file that is no such table.
    """
    schema = LEDGER_SCHEMA[table]
    parts = [pl.DataFrame(schema=schema)]
    files = sorted(run.ledger.glob(f"{table}*.parquet"))
    if not files and _has_pipeline(events):
        problems.append(f"ledger: the table {table} is missing, and every figure made from it")
    for file in files:
        try:
            parts.append(_columns(pl.read_parquet(file), schema, LATER_COLUMNS.get(table, set())))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise NotARunError(f"{file}: not a {table} table: {first_line(error)}") from None
    return pl.concat(parts)


def _columns(
    rows: pl.DataFrame, schema: dict[str, type[pl.DataType]], added: set[str]
) -> pl.DataFrame:
    absent = added - set(rows.columns)
    return rows.select(
        (pl.lit(None) if name in absent else pl.col(name)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    )


def _has_pipeline(events: Sequence[Event]) -> bool:
    return any(
        isinstance(event, PartitionChosen)
        or (isinstance(event, Phase) and event.phase in SERVING_PHASES)
        for event in events
    )
