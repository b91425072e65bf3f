"""Says how it was called and where: what a launcher starts in place of the testbed."""

import sys
from pathlib import Path


def main() -> None:
    print("program", *sys.argv[1:], "in", Path.cwd())


if __name__ == "__main__":
    main()
