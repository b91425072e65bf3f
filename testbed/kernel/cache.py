"""The cache of kernels: their folders, the one in use, and a lock among builders.

``$XDG_CACHE_HOME/concertina/kernels`` has a folder for each kernel, ``<version>-<12 hex digits of
the configuration hash>``. A folder of that form is whole, because it was renamed to it at the end.
``own`` names the kernel of the user's own to use, where there is one.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from controller.keeping.user_cache import cache_folder
from testbed.kernel.guest_kernel import GuestKernel
from testbed.kernel.recipe import configuration_hash, own_hash

UNFINISHED = ".unfinished-"
MAKE_CANNOT = " :"  # in the path of a source tree
LOCK, OWN, LOG = "lock", "own", "build.log"


def kernel_cache() -> Path:
    """Folder of this user's kernels."""
    return cache_folder("kernels")


def find_kernel() -> GuestKernel | None:
    """Find the kernel to use; None if there is none; takes some milliseconds."""
    name = own_kernel()
    if name is None:
        return find_built_kernel()
    kernel = GuestKernel.read(kernel_cache() / name)
    if kernel is None or kernel.configuration_hash != own_hash(kernel.configuration.read_bytes()):
        return None  # damaged, or its library is another version's
    return kernel


def find_built_kernel() -> GuestKernel | None:
    """Find the newest kernel that was built by the present recipe."""
    pattern = f"*-{configuration_hash()[:12]}"
    found = (GuestKernel.read(folder) for folder in kernel_cache().glob(pattern))
    built = (kernel for kernel in found if kernel is not None and kernel.origin == "built")
    return max(built, key=lambda kernel: version_number(kernel.version), default=None)


def own_kernel() -> str | None:
    """The name of the user's own kernel, None if the built one is to be used."""
    try:
        return (kernel_cache() / OWN).read_text().strip()
    except FileNotFoundError:
        return None


def use_own(kernel: GuestKernel | None) -> None:
    """Use a kernel of the user's own from now on, or, with None, the built one."""
    choice = kernel_cache() / OWN
    if kernel is None:
        choice.unlink(missing_ok=True)
        return
    fresh = choice.with_suffix(".new")
    fresh.write_text(f"{kernel.name}\n")
    fresh.rename(choice)


def version_number(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparing: 6.12.117-x is (6, 12, 117)."""
    leading = version.partition("-")[0].split(".")
    return tuple(int(part) for part in leading if part.isdecimal())


@contextmanager
def sole_builder(console: Console) -> Iterator[None]:
    """Wait for other builders of this user's; what an interrupted one left is deleted."""
    cache = kernel_cache()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print("waiting for another build of the guest's kernel", highlight=False)
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in cache.glob(f"{UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder to build in, gone at the end; outside the cache where make cannot bear its path."""
    cache = kernel_cache().resolve()
    place = tempfile.gettempdir() if set(MAKE_CANNOT) & set(str(cache)) else cache
    folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(kernel: GuestKernel) -> GuestKernel:
    """Move a finished kernel to its place, instead of what may be there."""
    kernel.write()
    place = kernel_cache() / kernel.name
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=kernel_cache()) as beside:
        fresh = Path(beside) / "fresh"
        shutil.copytree(kernel.folder, fresh)
        if place.exists():
            place.rename(Path(beside) / "replaced")
        fresh.rename(place)
    return kernel.model_copy(update={"folder": place})
