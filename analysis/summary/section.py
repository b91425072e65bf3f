"""The base of every part of ``summary.json``."""

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field


class SummarySection(BaseModel):
    """A part of the summary."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Distribution(SummarySection):
    """Summary of many times of one kind."""

    count: int = Field(description="number of values")
    min_ms: float = Field(description="smallest")
    mean_ms: float = Field(description="arithmetic mean")
    median_ms: float = Field(description="half of the values are smaller")
    p95_ms: float = Field(description="95 % of the values are smaller")
    p99_ms: float = Field(description="99 % of the values are smaller")
    max_ms: float = Field(description="largest")

    @classmethod
    def of_ns(cls, values_ns: npt.NDArray[np.int64]) -> "Distribution | None":
        """Summarise times in nanoseconds; None without any."""
        if not len(values_ns):
            return None
        values = np.asarray(values_ns) / 1e6
        median, p95, p99 = np.percentile(values, [50, 95, 99])
        return cls(
            count=len(values),
            min_ms=values.min(),
            mean_ms=values.mean(),
            median_ms=median,
            p95_ms=p95,
            p99_ms=p99,
            max_ms=values.max(),
        )


class Accuracy(SummarySection):
    """An accuracy and where it came from."""

    value: float = Field(description="share of the images classified correctly, 0 to 1")
    images: int = Field(description="number of images it was measured on")
    split: str = Field(description="part of the data set: `train`, `validation` or `test`")
