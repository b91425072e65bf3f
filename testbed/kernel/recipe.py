"""The recipe of the guest's kernel, from a source tree: programs, arguments, configuration."""

import os
from importlib.resources import files
from pathlib import Path

from testbed.kernel.guest_kernel import digest

LEAST_VERSION = (6, 6)  # 6.1 panics with this configuration at the first `ip link set up`
BUILD_MIN = 4  # on two cores
NEEDED_BYTES = 1 << 30  # the most it was seen to take is 0.7 GB
HZ = 1000

FRAGMENT = Path(str(files(__package__) / "kernel.config"))
PRELOAD_SOURCE = Path(str(files(__package__) / "preload.c"))

KCONFIG = "Kconfig.concertina"  # the tree's own, where ticks are set
MAKE = (
    "make",
    "ARCH=um",
    f"KBUILD_KCONFIG={KCONFIG}",
    # the same source gives the same kernel, whatever user builds it, and when
    "KBUILD_BUILD_TIMESTAMP=@0",
    "KBUILD_BUILD_USER=concertina",
    "KBUILD_BUILD_HOST=concertina",
    "KBUILD_BUILD_VERSION=1",
)
COMPILE_PRELOAD = ("gcc", "-shared", "-fPIC", "-O2", "-o")

# What User-Mode Linux never compiles is not unpacked. Makefiles and Kconfig files are read for all
# drivers and architectures, so only sources are left out. In a pattern, `*` matches slashes, too.
UNUSED = ("Documentation/*/*", "tools/perf/*", "tools/testing/*")
SOURCES = ("*.[chS]", "*.dts", "*.dtsi")
UNUSED_SOURCES = (
    *("drivers/gpu", "drivers/infiniband", "drivers/media", "drivers/scsi", "drivers/staging"),
    *("drivers/net/ethernet", "drivers/net/wireless", "drivers/usb", "drivers/iio", "drivers/clk"),
    *("drivers/pinctrl", "drivers/accel", "drivers/crypto", "drivers/hwmon", "drivers/mtd"),
    *("drivers/platform", "drivers/phy", "drivers/soc", "sound"),
    *("arch/alpha", "arch/arc", "arch/arm", "arch/arm64", "arch/csky", "arch/hexagon"),
    *("arch/loongarch", "arch/m68k", "arch/microblaze", "arch/mips", "arch/nios2"),
    *("arch/openrisc", "arch/parisc", "arch/powerpc", "arch/riscv", "arch/s390", "arch/sh"),
    *("arch/sparc", "arch/xtensa"),
)


def configuration_hash() -> str:
    """Hash all that a built kernel depends on beside its source, SHA-256 in hex."""
    fragment = FRAGMENT.read_text().splitlines()
    symbols = "\n".join(line for line in fragment if line.startswith("CONFIG_"))
    words = " ".join((*MAKE, *COMPILE_PRELOAD, with_ticks("mainmenu\n")))
    return digest(symbols.encode(), PRELOAD_SOURCE.read_bytes(), words.encode())


def own_hash(configuration: bytes) -> str:
    """Hash a kernel of the user's own: its configuration and our library, SHA-256 in hex."""
    return digest(configuration, PRELOAD_SOURCE.read_bytes())


def unpacking(archive: Path) -> list[str]:
    """The command that unpacks the source into the working directory, naming each file."""
    top = archive.name.partition(".tar")[0]
    sources = (f"{folder}/{kind}" for folder in UNUSED_SOURCES for kind in SOURCES)
    excluded = [f"--exclude={top}/{pattern}" for pattern in (*UNUSED, *sources)]
    return ["tar", "-xvf", str(archive), "--strip-components=1", "--anchored", *excluded]


def with_ticks(kconfig: str) -> str:
    """A tree's Kconfig with HZ set.

    In User-Mode Linux it has no prompt, so a configuration cannot set it; but a symbol's first
    default holds.
    """
    lines = kconfig.splitlines(keepends=True)
    after = next(at for at, line in enumerate(lines, 1) if line.startswith("mainmenu"))
    lines.insert(after, f"\nconfig HZ\n\tint\n\tdefault {HZ}\n\n")
    return "".join(lines)


def configuring() -> list[str]:
    """The command that configures a tree: what the fragment does not name is off."""
    return [*MAKE, f"KCONFIG_ALLCONFIG={FRAGMENT}", "allnoconfig"]


def compiling() -> list[str]:
    """The command that compiles a configured tree on the processors this process may use."""
    return [*MAKE, f"-j{len(os.sched_getaffinity(0))}", "linux"]
