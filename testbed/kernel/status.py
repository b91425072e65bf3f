"""The needs of a kernel's build: space, packages, time."""

import shutil

from testbed.kernel.cache import kernel_cache, own_kernel
from testbed.kernel.provision import missing_packages
from testbed.kernel.recipe import BUILD_MIN, NEEDED_BYTES


def absence() -> list[str]:
    """Say why there is no kernel to use, what is missing for a build and what would help."""
    name = own_kernel()
    if name is not None:
        return [
            f"kernel: your own, {name}, is not whole, or of another version: "
            "`concertina kernel use FILE`, or `concertina kernel use built`"
        ]
    packages = missing_packages()
    return [
        "kernel: not built yet",
        f"to build it, about {BUILD_MIN} min on two processors: ./concertina kernel build",
        *([f"packages missing for that: {' '.join(packages)}"] if packages else []),
        *([space] if (space := lack_of_space()) else []),
    ]


def lack_of_space() -> str | None:
    """Say that a build would not have the space it needs, None if it has."""
    places = (kernel_cache(), *kernel_cache().parents)  # it may not be there yet
    free_bytes = shutil.disk_usage(next(place for place in places if place.is_dir())).free
    if free_bytes >= NEEDED_BYTES:
        return None
    free, needed = free_bytes / 1e9, NEEDED_BYTES / 1e9
    return f"{free:.1f} GB free in {kernel_cache()}, a build needs {needed:.1f} GB"
