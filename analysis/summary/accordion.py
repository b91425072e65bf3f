"""Part of ``summary.json``: delivered models, and when each configuration could run."""

from pydantic import Field

from analysis.summary.section import Accuracy, SummarySection


class ExpectedDownload(SummarySection):
    """The least time a download can take, from what the probe measured before the run.

    A round trip is the sum of the probed minimum round-trip times of the links on the path: one
    for the handshake, one from the request to the first byte, then the payload at the lowest
    probed goodput, and the time for which slow start leaves the link idle: rounds that begin with
    10 segments (RFC 6928), or with the window that the server opened for the path, and double,
    until a round fills the round-trip time.
    """

    handshake_ms: float = Field(description="one probed round trip: SYN to SYN-ACK")
    request_ms: float = Field(description="one more round trip for request and first byte")
    slow_start_ms: float = Field(description="idle time of the rounds of slow start")
    payload_ms: float = Field(description="payload bytes / lowest probed goodput on the path")
    total_ms: float = Field(description="the sum")


class DownloadSummary(SummarySection):
    """One response of the model server to one UE, from the UE's capture."""

    ue: str = Field(description="host that asked")
    round: int = Field(description="how often the UE had begun anew, without a model, before")
    step: int = Field(description="which of the UE's steps asked, counted from 0")
    attempt: int = Field(description="which connection of this request, counted from 1")
    outcome: str = Field(
        description="`complete`; `interrupted` or `damaged`: the next attempt fetched the rest"
    )
    admission: str | None = Field(description="`lookup` or `stream`; null: a plain range")
    estimate_mbit: float | None = Field(
        description="rate of the link that the server reckoned with; of a stream, what its kernel "
        "measured in the end"
    )
    estimate_source: str | None = Field(description="`profile` or `measured`")
    server: str = Field(description="host that answered")
    model: str = Field(description="name of the model")
    deadline_ms: float | None = Field(description="deadline the UE asked for")
    wanted_accuracy: float | None = Field(description="accuracy the UE asked for")
    configuration: tuple[int, ...] | None = Field(description="what the server decided to send")
    admission_reason: str | None = Field(description="why, in the server's words")
    first_byte: int = Field(description="first byte of the model file that was sent")
    end_byte: int = Field(description="byte of the model file before which sending ended")
    payload_bytes: int = Field(description="bytes of the response, HTTP header included")
    wire_bytes: int = Field(description="the same with TCP, IP and Ethernet headers, as received")
    retransmitted_bytes: int = Field(description="payload bytes that the server sent again")
    begin_s: float = Field(description="SYN, since the first request of this UE for this model")
    duration_ms: float = Field(description="from the first SYN to the last payload byte")
    deadline_met: bool | None = Field(description="duration ≤ deadline; null without a deadline")
    goodput_mbit: float = Field(description="payload bits / duration")
    handshake_ms: float = Field(description="SYN to SYN-ACK in the UE's capture")
    server_ms: float | None = Field(
        description="in the server's capture, from the last byte of the request to the first of "
        "the response: the server's own time"
    )
    expected: ExpectedDownload | None = Field(description="null where the probe lacks the path")
    excess: float | None = Field(description="duration / expected - 1")


class DeadlineRequest(SummarySection):
    """A request with a deadline: what was complete by then, against what the link could carry.

    A configuration counts with the capture's last byte of it. ``carried_bytes`` is the longest
    prefix for which the least time (``ExpectedDownload``) is within the deadline, as if the UE had
    the path to itself; ``possible_bytes`` of those that end with a configuration the one that an
    admission that knew would have chosen: a stream the longest, a look-up the most accurate, of
    equals the shorter.
    """

    ue: str = Field(description="host that asked")
    round: int = Field(description="how often the UE had begun anew before")
    step: int = Field(description="which of its steps, counted from 0")
    admission: str = Field(description="`lookup` or `stream`")
    deadline_ms: float = Field(description="asked for")
    refused: bool = Field(description="the server did not send anything")
    met: bool = Field(description="something came, and its last byte was within the deadline")
    configuration: str | None = Field(description="largest that was complete by the deadline")
    useful_bytes: int = Field(description="of the file, up to the end of that configuration")
    possible_bytes: int | None = Field(description="null where the probe lacks the path")
    carried_bytes: int | None = Field(description="the same, blocks or not")
    useful_share: float | None = Field(description="useful / possible bytes")
    link_share: float | None = Field(description="useful / carried bytes")
    first_inference_ms: float | None = Field(
        description="from the last byte of the smallest configuration at the UE to the end of its "
        "first inference; null where the UE had it before"
    )


class UeDeliveries(SummarySection):
    """All requests with a deadline of one UE and one kind of admission."""

    ue: str = Field(description="host")
    admission: str = Field(description="`lookup` or `stream`")
    requests: int = Field(description="with a deadline")
    refused: int = Field(description="of them the server sent nothing for")
    met: int = Field(description="of them were complete within their deadline")
    met_share: float = Field(description="met / requests")
    useful_share_min: float | None = Field(description="lowest useful / possible bytes")
    useful_share_median: float | None = Field(description="median of the same")
    link_share_median: float | None = Field(description="median useful / carried bytes")
    good_share: float | None = Field(
        description="share of the requests that met their deadline with at least 95 % of the "
        "possible bytes"
    )
    first_inference_ms_median: float | None = Field(
        description="from the last byte of the smallest configuration to the end of its first "
        "inference"
    )
    first_inference_ms_max: float | None = Field(description="longest of the same")


class RefusalSummary(SummarySection):
    """A step that came to nothing."""

    ue: str = Field(description="host that asked")
    round: int = Field(description="how often it had begun anew before")
    step: int = Field(description="which of its steps, counted from 0")
    status: int | None = Field(description="the server's HTTP status; null: the UE's own refusal")
    reason: str = Field(description="why")


class StepDown(SummarySection):
    """A UE went over to another configuration that it held, without any transfer."""

    ue: str = Field(description="host")
    configuration: tuple[int, ...] = Field(description="what it runs since then")
    macs: int = Field(description="multiply-accumulates of one inference")
    accuracy: Accuracy | None = Field(description="measured by the UE")


class InitialWindow(SummarySection):
    """Windows sized to one UE's path: the server's first one, and what the UE offered."""

    ue: str = Field(description="host")
    segments: int = Field(description="instead of 10")
    receive_window_bytes: int | None = Field(
        default=None, description="least that the UE offered with a request; null: the system's"
    )


class InjectedFault(SummarySection):
    """Harm that the server did because the experiment asked for it."""

    ue: str = Field(description="host whose response was struck")
    fault: str = Field(description="`cut` or `flip`")
    at_byte: int = Field(description="of the file")


class ConfigurationFigures(SummarySection):
    """One configuration of an Accordion model that became able to run on a UE."""

    ue: str = Field(description="host it runs on")
    model: str = Field(description="name of the model")
    configuration: tuple[int, ...] = Field(description="blocks per part of the network")
    file_bytes: int = Field(description="length of the file's prefix that holds it")
    delivered_s: float | None = Field(
        description="last byte at the UE (its capture), since the first SYN of the model's "
        "downloads"
    )
    ready_s: float = Field(description="the UE's program has it, since the same moment")
    usable_s: float | None = Field(description="end of its first inference, since the same moment")
    accuracy: Accuracy | None = Field(description="measured by the UE; null: never run")


class BlockFigures(SummarySection):
    """One block of an Accordion model on the wire: what makes one more configuration able to run.

    Times are since the first SYN of the UE's downloads of this model.
    """

    ue: str = Field(description="host that received it")
    model: str = Field(description="name of the model")
    configuration: str = Field(description="what is able to run with it, blocks per part")
    first_byte: int = Field(description="first byte of the file that this download carried of it")
    end_byte: int = Field(description="the byte after its last")
    queued_s: float | None = Field(
        description="the request's last byte was at the server (its capture); null: not captured"
    )
    first_out_s: float | None = Field(description="first byte sent (server's capture)")
    last_out_s: float | None = Field(description="last byte first sent (server's capture)")
    delivered_s: float | None = Field(
        description="it and all before it were at the UE (its capture)"
    )
    wire_bytes: int = Field(description="with headers and retransmissions, server's capture")
    retransmitted_bytes: int = Field(description="payload bytes sent again")


class Accordion(SummarySection):
    """The progressively delivered models."""

    downloads: tuple[DownloadSummary, ...] = Field(description="in the order of time")
    configurations: tuple[ConfigurationFigures, ...] = Field(
        description="of every UE's first round, in the order of time"
    )
    requests: tuple[DeadlineRequest, ...] = Field(description="those with a deadline")
    ues: tuple[UeDeliveries, ...] = Field(description="the same, per UE and kind of admission")
    refusals: tuple[RefusalSummary, ...] = Field(description="steps that came to nothing")
    step_downs: tuple[StepDown, ...] = Field(description="changes without transfer")
    initial_windows: tuple[InitialWindow, ...] = Field(description="none: the system's own")
    faults: tuple[InjectedFault, ...] = Field(description="done on purpose")
    blocks: tuple[BlockFigures, ...] = Field(default=(), description="in the order of time")
