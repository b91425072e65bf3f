"""Identity of this machine, as far as figures depend on it."""

import platform
from pathlib import Path

PROCESSOR_FIELDS = ("model name", "Model")
"""Of ``/proc/cpuinfo``: x86 names the processor, Arm boards name themselves."""


def cpu_model() -> str:
    """The processor's name, or the board's where processors have none."""
    return model_of(Path("/proc/cpuinfo").read_text()) or platform.machine()


def model_of(cpuinfo: str) -> str | None:
    """The name in the text of ``/proc/cpuinfo``."""
    fields = {
        name.strip(): value.strip()
        for name, _, value in (line.partition(":") for line in cpuinfo.splitlines())
    }
    return next((fields[name] for name in PROCESSOR_FIELDS if fields.get(name)), None)
