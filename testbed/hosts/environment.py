"""The environment of every emulation, the same in both hosts."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

GUEST_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    "XDG_CACHE_HOME": "/tmp/cache",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    # our packages, whatever lies in the directory that the user works in
    "PYTHONPATH": str(REPOSITORY),
    "PYTHONSAFEPATH": "1",
    # one emulated host is one process on one shared CPU
    "OMP_NUM_THREADS": "1",
    # Memory given back is paid for again at 81 to 336 us a page fault in User-Mode Linux: a
    # convolution forward took 1.23 s with malloc's own settings and 0.039 s with these.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
    "MALLOC_ARENA_MAX": "1",
}
