"""Options that several commands share."""

from enum import StrEnum
from typing import Annotated

import typer


class HostKind(StrEnum):
    """Where Mininet runs."""

    AUTO = "auto"
    NATIVE = "native"
    MICROVM = "microvm"


HostOption = Annotated[
    HostKind,
    typer.Option(
        "--host",
        help="Where Mininet runs: **native** (root and a kernel with netem), **microvm** "
        "(User-Mode Linux, no root), or **auto**: native where it works, else microvm.",
    ),
]
