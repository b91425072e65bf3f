"""Part of ``summary.json``: the traffic of the cuts, and its savings against baselines."""

from pydantic import Field

from analysis.summary.section import Distribution, SummarySection


class CutTraffic(SummarySection):
    """One connection between two stages, during one window; per inference: per image."""

    cut: int = Field(description="index of the cut: between stage `cut` and stage `cut` + 1")
    source: str = Field(description="host of the sending stage")
    target: str = Field(description="host of the receiving stage")
    links: tuple[str, ...] = Field(description="links that the connection crosses")
    frames: int = Field(description="activation frames of the window")
    inferences: int = Field(description="images in those frames")
    payload_bytes: float = Field(description="activation bytes per inference, as encoded")
    frame_bytes: float = Field(description="the same with the frame headers")
    wire_bytes: float = Field(
        description="bytes per inference on the wire, sender's capture: frames with TCP, IP and "
        "Ethernet headers and retransmissions. W and P of Eq. 1"
    )
    ack_wire_bytes: float = Field(
        description="bytes per inference of the packets that travelled the other way meanwhile"
    )
    retransmitted_bytes: int = Field(description="payload bytes sent again, whole window")
    wait: Distribution | None = Field(
        description="from handed to the sender (ledger) to first byte out (sender's capture)"
    )
    transfer: Distribution | None = Field(
        description="from first byte out (sender's capture) to last byte delivered (receiver's "
        "capture). Its median is T and L of Eq. 2"
    )
    hop: Distribution | None = Field(description="wait and transfer together")


class Reduction(SummarySection):
    """A figure before and after compression; `analysis/metrics/pipeline/reductions.py`."""

    before: float = Field(description="W or T: uncompressed split")
    after: float = Field(description="P or L: compressed fringe layers")
    reduction: float = Field(description="before - after")
    share: float | None = Field(description="reduction / before")


class Reductions(SummarySection):
    """One of the patent application's two sums, by connection and global."""

    connections: tuple[Reduction, ...] = Field(description="one per cut, in order")
    total: Reduction = Field(description="the sum over all connections")


class Against(SummarySection):
    """Traffic of one connection per inference, beside the raw input that could be sent instead.

    Bytes are payloads: what the data set holds of an image against an encoded activation. On the
    wire both get the same headers.
    """

    raw_input_bytes: float = Field(description="baseline: the raw input sent instead")
    uncompressed_bytes: float = Field(description="baseline: the uncompressed split")
    compressed_bytes: float | None = Field(
        description="after compression; null: no window after compression"
    )
    uncompressed_is_loss: bool = Field(description="more than the raw input")
    compressed_is_loss: bool | None = Field(description="more than the raw input")
    raw_input_ms: float | None = Field(
        description="estimate, not measured: a frame of raw inputs at the lowest probed goodput of "
        "the path and half its probed round trip; null where the probe lacks the path"
    )
    uncompressed_ms: float | None = Field(
        description="median time of a frame on the wire. T of Eq. 2"
    )
    compressed_ms: float | None = Field(description="the same after compression. L of Eq. 2")


class Baselines(SummarySection):
    """The split model beside sending the raw input, which would cross every link of the way."""

    connections: tuple[Against, ...] = Field(description="one per cut, in order")
    total: Against = Field(description="the sum over all connections")
