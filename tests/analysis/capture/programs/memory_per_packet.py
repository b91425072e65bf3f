"""Says how many bytes of memory a packet takes that is read from a capture.

Arguments: a capture with few packets, whose reading makes what is there in any case, and one with
many.
"""

import re
import sys
from pathlib import Path

from analysis.capture.reader import read_capture


def main() -> None:
    few, many = map(Path, sys.argv[1:])
    read_capture(few)
    before = peak_bytes()
    capture = read_capture(many)
    print((peak_bytes() - before) / capture.packets.height)


def peak_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


if __name__ == "__main__":
    main()
