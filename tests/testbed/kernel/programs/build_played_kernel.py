"""Builds a kernel of scripts that play programs; says its version, or why there is none.

Argument: where the machine has kernel sources installed.
"""

import sys
from pathlib import Path

from rich.console import Console

from testbed.errors import TestbedError
from testbed.kernel import build, inquiry, source


def main() -> None:
    inquiry.ELF = b"#!"
    source.INSTALLED = Path(sys.argv[1])
    try:
        print(build.build_kernel(Console()).version)
    except TestbedError as error:
        print(error)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
