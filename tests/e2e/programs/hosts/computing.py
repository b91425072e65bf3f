"""Computes for a while; says how long it took by the clock."""

import time


def main() -> None:
    before = time.monotonic()
    sum(number * number for number in range(3_000_000))
    print(time.monotonic() - before)


if __name__ == "__main__":
    main()
