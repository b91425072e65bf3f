"""``failure.json``: why an emulation failed."""

from stage_node.records.record import RunFile


class FailureRecord(RunFile):
    """The error's type, its message, and the exit status that follows."""

    type: str
    message: str
    status: int
