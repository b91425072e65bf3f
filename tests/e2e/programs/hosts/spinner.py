"""Waits for the time without sleeping, for ever, under the name ``spinner``."""

from pathlib import Path


def main() -> None:
    Path("/proc/self/comm").write_text("spinner")
    while True:
        pass


if __name__ == "__main__":
    main()
