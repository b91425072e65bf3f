"""Runs ``concertina`` with its arguments; says which of the heavy packages that has imported."""

import sys

from testbed.commands.cli import main as concertina

HEAVY = ("torch", "matplotlib", "polars")


def main() -> None:
    try:
        concertina()
    finally:
        print([name for name in HEAVY if name in sys.modules])


if __name__ == "__main__":
    main()
