"""``manifest.json``: what must be known to repeat a run."""

from stage_node.records.machine import ClockPair, MachineFacts, MachineRecord
from stage_node.records.record import RunFile, RunFilePart
from stage_node.records.vocabulary import ClockKind


class CodeVersion(RunFilePart):
    """The commit of the working tree and whether it was changed since; None: no repository."""

    git_commit: str | None
    git_dirty: bool | None


class SoftwareVersions(RunFilePart):
    """Versions of Python, its packages and the tools (None: not installed)."""

    python: str
    packages: dict[str, str]
    tools: dict[str, str | None]


class KernelFacts(RunFilePart):
    """A guest's kernel: ``sha256`` and ``size_bytes`` are of the executable.

    ``configuration_hash`` is the SHA-256 of all that it was made from, but for the source.
    """

    origin: str
    version: str
    sha256: str
    size_bytes: int
    configuration_hash: str


class ManifestRecord(RunFile):
    """The origin of a run: where, when, by what and with which clock and seed it was made.

    ``machine`` and ``clock`` are what the emulation says, None until it has ended. ``host`` is the
    kind of host, ``command`` what the user asked for.
    """

    name: str
    host: str
    clock_kind: ClockKind = "real"  # older runs knew no other
    pace: float | None = None  # None: as fast as it goes
    seed: int
    guest_kernel: KernelFacts | None = None  # None: not a microVM on the virtual clock
    started: str
    command: tuple[str, ...]
    code: CodeVersion
    outer_machine: MachineFacts
    software: SoftwareVersions | None = None  # None: older, when they were the machine's
    machine: MachineFacts | None = None
    clock: tuple[ClockPair, ...] | None = None

    def completed(self, told: MachineRecord) -> "ManifestRecord":
        """Take over what the emulation said of its machine; returns the whole manifest."""
        return self.model_copy(update={"machine": told.machine, "clock": told.clock})
