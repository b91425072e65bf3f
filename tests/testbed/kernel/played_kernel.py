"""Programs that play apt, tar, make and the kernel itself, so that a build takes no time."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from stage_node.repository import REPOSITORY
from testbed.kernel import inquiry, source
from testbed.kernel.inquiry import NEEDED

BUILDER = Path(__file__).with_name("programs") / "build_played_kernel.py"
CONFIGURATION = "\n".join(["CONFIG_UML=y", *(f"CONFIG_{name}=y" for name in NEEDED)])
NO_BLANKS = 'case $PWD in *" "*) echo "source directory cannot contain spaces"; exit 2 ;; esac'
SHELL_TOOLS = ("sh", "cat", "cp", "dirname", "env", "id", "mkdir", "rm", "sleep", "sort", "tr")
BUILD_PROGRAMS = ("flex", "bison", "bc", "xz", "bzip2", "awk")
OLD_PACKAGE, PACKAGE = "linux-source-6.1 - old", "linux-source-6.12 - good"


def kernel_script(version: str = "6.12.117", configuration: str = CONFIGURATION) -> str:
    """A program that answers as User-Mode Linux does."""
    return (
        "#!/bin/sh\n# User Mode Linux\n"
        f'case $1 in --version) echo {version} ;; --showconfig) echo "{configuration}" ;; esac\n'
    )


# What a program does in place of the real one, in the folder that it is called in.
DOWNLOAD = 'echo "dlstatus:1:50.0:half"; echo > linux-source-6.12.deb'
EXTRACT = "mkdir -p $3/usr/src; echo > $3/usr/src/linux-source-6.12.tar.xz"
UNPACK = 'echo Kconfig; printf \'mainmenu "Linux"\\nsource "x"\\n\' > Kconfig'
CONFIGURE = f'cat > .config <<"END"\n{CONFIGURATION}\nEND'
COMPILE = f"echo '  CC init/main.o'; cat > linux <<'END'\n{kernel_script()}END\n"
STRIP = 'cp "$3" "$2"; PATH=/usr/bin:/bin chmod +x "$2"'
COMPILER = 'while [ $# -gt 0 ]; do [ "$1" != -o ] || echo > "$2"; shift; done'


@dataclass(frozen=True)
class Workplace:
    """The only programs that a build finds, and the cache that it fills."""

    root: Path

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def kernels(self) -> Path:
        return self.root / "cache" / "concertina" / "kernels"

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": str(self.bin), "XDG_CACHE_HOME": str(self.root / "cache")}

    def provide(self, name: str, script: str = "exit 0") -> None:
        program = self.bin / name
        program.unlink(missing_ok=True)
        calls = self.root / "calls"
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> "{calls}"\n{script}\n')
        program.chmod(0o755)

    def compiles_by(self, script: str) -> None:
        self.provide(
            "make", f"{NO_BLANKS}\ncase $* in *allnoconfig*) {CONFIGURE}\n;; *) {script}\n;; esac"
        )

    def calls(self, program: str) -> list[str]:
        file = self.root / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.split()[0] == program]

    def left_over(self) -> list[str]:
        return [path.name for path in self.kernels.glob(".*")]

    def start(self) -> subprocess.Popen[str]:
        """A Python of its own that builds, and says what it has."""
        return subprocess.Popen(
            [sys.executable, str(BUILDER), str(self.root / "usr" / "src")],
            env=os.environ | self.environment | {"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            text=True,
            # Tests in the background of a shell have it ignored, and their children with them.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )


def make_workplace(root: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """A machine that can build; this process works in it, too, and takes scripts for kernels."""
    place = Workplace(root)
    monkeypatch.setattr(source, "INSTALLED", root / "usr" / "src")
    monkeypatch.setattr(inquiry, "ELF", b"#!")
    place.bin.mkdir()
    (root / "usr" / "src").mkdir(parents=True)
    for tool in SHELL_TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (place.bin / tool).symlink_to(found)
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    for name in BUILD_PROGRAMS:
        place.provide(name)
    place.provide("apt-cache", f"echo '{OLD_PACKAGE}'; echo '{PACKAGE}'")
    place.provide("apt-get", f"case $1 in download) {DOWNLOAD} ;; esac")
    place.provide("dpkg", EXTRACT)
    place.provide("tar", UNPACK)
    place.provide("strip", STRIP)
    place.provide("gcc", COMPILER)
    place.compiles_by(COMPILE)
    return place
