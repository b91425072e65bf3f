"""The folder of our packages: everything that is shipped is found from here."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
