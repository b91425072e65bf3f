"""Sleeps for two seconds; says when it begins and when it ends."""

import time


def main() -> None:
    print(time.monotonic())
    time.sleep(2)
    print(time.monotonic())


if __name__ == "__main__":
    main()
