"""The environment of every emulation, the same in both hosts."""

import sys
from pathlib import Path

from stage_node.processes.seeds import SEED_VARIABLE

PACKAGES = ("topologies", "stage_node", "controller", "analysis", "testbed")
PYTHON = Path(sys.executable).name
"""The name by which a command in a host finds this Python: its folder is the first of the path."""


def emulation_environment(code: Path, python: Path, seed: int) -> dict[str, str]:
    """Environment variables of an emulation.

    ``code`` is the folder of our packages and ``python`` the prefix of this Python's installation,
    as the host sees them; from ``seed`` come the random numbers of all its processes.
    """
    system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        **FIXED,
        "PATH": f"{python}/bin:{system}",
        # our packages, whatever lies in the directory that the user works in
        "PYTHONPATH": str(code),
        SEED_VARIABLE: str(seed),
        "PYTHONHASHSEED": str(seed % 2**32),
    }


FIXED = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    "XDG_CACHE_HOME": "/tmp/cache",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONSAFEPATH": "1",
    # One emulated host is one process on one shared CPU. A thread that waits by spinning never
    # ends where the clock stands still until all processes wait.
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "OPENBLAS_NUM_THREADS": "1",
    # Processors with wider vectors would add in another order, and send other bytes.
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    # Memory given back is paid for again at 81 to 336 us a page fault in User-Mode Linux: a
    # convolution forward took 1.23 s with malloc's own settings and 0.039 s with these.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
    "MALLOC_ARENA_MAX": "1",
}
