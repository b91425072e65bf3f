"""``machine.json`` and ``failure.json``: the emulation's words about itself."""

from stage_node.records.record import RunFile, RunFilePart


class MachineFacts(RunFilePart):
    """Kernel, processor and memory of a machine."""

    kernel: str
    machine: str
    cpu_model: str
    cpus: int
    memory_mib: int


class ClockPair(RunFilePart):
    """Both clocks at one moment: ledger and events use the first, captures the second."""

    monotonic_ns: int
    realtime_ns: int


class MachineRecord(RunFile):
    """The machine that emulated, and its clocks at the beginning and at the end."""

    machine: MachineFacts
    clock: tuple[ClockPair, ...]


class FailureRecord(RunFile):
    """Why an emulation failed: the error's type, its message, the exit status that follows."""

    type: str
    message: str
    status: int
