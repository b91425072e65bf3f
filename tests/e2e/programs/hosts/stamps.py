"""Sleeps and computes by turns; says after each turn what time it is on both clocks."""

import time

TURNS = 300


def main() -> None:
    for number in range(TURNS):
        time.sleep(0.001 * (number % 7))
        sum(range(20_000))
        print(time.time_ns(), time.monotonic_ns())


if __name__ == "__main__":
    main()
