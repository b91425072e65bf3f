"""Sleeps for sys.argv[1] seconds; says how long that was, and leaves a file before and after."""

import sys
import time
from pathlib import Path


def main() -> None:
    Path("begun").touch()
    before = time.monotonic()
    time.sleep(float(sys.argv[1]))
    print(time.monotonic() - before)
    Path("ended").touch()


if __name__ == "__main__":
    main()
