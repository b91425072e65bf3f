"""Does a piece of work when a line is read; says its seconds by the wall's clock and of CPU."""

import json
import sys
import time


def main() -> None:
    sys.stdin.readline()
    wall, cpu = time.monotonic(), time.process_time()
    sum(i * i for i in range(4_000_000))
    print(json.dumps([time.monotonic() - wall, time.process_time() - cpu]))


if __name__ == "__main__":
    main()
