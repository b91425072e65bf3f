"""Builds the guest's kernel from the distribution's source, once, as an ordinary user."""

import time
from pathlib import Path

from rich.console import Console

from testbed.errors import KernelUnavailableError, RunInterruptedError
from testbed.interruption import Stopped, stopped_by_signals
from testbed.kernel.build_progress import BuildProgress
from testbed.kernel.cache import (
    LOG,
    find_built_kernel,
    find_kernel,
    keep,
    kernel_cache,
    own_kernel,
    sole_builder,
    workshop,
)
from testbed.kernel.guest_kernel import GuestKernel
from testbed.kernel.inquiry import describe, lacking_symbols, make_preload
from testbed.kernel.provision import fetch_package_lists, install_packages
from testbed.kernel.recipe import (
    BUILD_MIN,
    KCONFIG,
    compiling,
    configuration_hash,
    configuring,
    unpacking,
    with_ticks,
)
from testbed.kernel.source import KernelSource, choose_source
from testbed.kernel.status import lack_of_space
from testbed.kernel.steps import MORE_SPACE, follow, told_in_a_line


def ensure_kernel(console: Console) -> GuestKernel:
    """Find the kernel to use, or build it.

    Raises KernelUnavailableError, in one line with what would help, where that cannot be.
    """
    kernel = find_kernel()
    if kernel is not None:
        return kernel
    name = own_kernel()
    if name is not None:
        raise KernelUnavailableError(
            f"kernel: your own, {name}, is not whole, or of another version: name it again, "
            "`concertina kernel use FILE`, or `concertina kernel use built`"
        )
    return build_kernel(console)


def build_kernel(console: Console, again: bool = False) -> GuestKernel:
    """Build the kernel, or with ``again`` build it anew; another builder's will do otherwise."""
    try:
        with stopped_by_signals(), told_in_a_line(), sole_builder(console):
            kernel = None if again else find_built_kernel()
            return kernel or _build(console)
    except Stopped as error:
        raise RunInterruptedError(
            "kernel: interrupted; nothing of the build is left", error.signal_number
        ) from error


def _build(console: Console) -> GuestKernel:
    cache = kernel_cache()
    lack = lack_of_space()
    if lack:
        raise KernelUnavailableError(f"kernel: {lack}; {MORE_SPACE}")
    install_packages()
    source = _source()
    words = f"building the guest's kernel from {source.package}, once, about {BUILD_MIN} min"
    console.print(words, highlight=False)
    begin = time.monotonic()
    log = cache / LOG
    log.unlink(missing_ok=True)
    with workshop() as folder, BuildProgress(console) as progress:
        kernel = _make(source, folder, log, progress)
        seconds = time.monotonic() - begin
    words = f"kernel {kernel.version} built in {seconds:.0f} s ({progress.took()})"
    console.print(words, highlight=False)
    return kernel


def _source() -> KernelSource:
    source = choose_source()
    if source is None:
        fetch_package_lists()
        source = choose_source()
    if source is None:
        raise KernelUnavailableError(
            "kernel: apt knows no linux-source package from 6.6 on here; name a kernel of your "
            "own: `concertina kernel use FILE`"
        )
    return source


def _make(source: KernelSource, folder: Path, log: Path, progress: BuildProgress) -> GuestKernel:
    made_from = configuration_hash()
    tree, whole = folder / "tree", folder / "whole"
    tree.mkdir()
    whole.mkdir()
    with progress.phase("download") as phase:
        archive = source.fetch(folder, log, phase.reached)
    with progress.phase("unpack") as phase:
        follow(unpacking(archive), tree, log, phase.line)
    with progress.phase("configure") as phase:
        (tree / KCONFIG).write_text(with_ticks((tree / "Kconfig").read_text()))
        follow(configuring(), tree, log, phase.line)
        lacking = lacking_symbols((tree / ".config").read_text())
        if lacking:
            raise KernelUnavailableError(f"kernel: {source.package} cannot have {lacking}")
    with progress.phase("compile") as phase:
        follow(compiling(), tree, log, phase.line)
        follow(["strip", "-o", str(whole / "linux"), "linux"], tree, log)
        make_preload(whole, log)
    return keep(describe(whole, "built", made_from))
