"""A kernel of the user's own in place of the built one."""

import shutil
from pathlib import Path

from rich.console import Console

from testbed.kernel.cache import LOG, keep, kernel_cache, sole_builder, use_own, workshop
from testbed.kernel.guest_kernel import GuestKernel
from testbed.kernel.inquiry import check_kernel, describe, make_preload
from testbed.kernel.provision import install_packages
from testbed.kernel.steps import told_in_a_line


def use_kernel(file: Path, console: Console) -> GuestKernel:
    """Copy a kernel into the cache and use it from now on.

    Raises BadKernelError, and changes nothing, where it is none that the guest could run.
    """
    check_kernel(file)
    install_packages()  # a C compiler for the library to preload
    with told_in_a_line(), sole_builder(console), workshop() as folder:
        whole = folder / "whole"
        whole.mkdir()
        shutil.copy(file, whole / "linux")
        make_preload(whole, kernel_cache() / LOG)
        kernel = keep(describe(whole, "own"))
        use_own(kernel)
    return kernel


def use_built_kernel() -> None:
    """Use the kernel that is built here from now on."""
    use_own(None)
