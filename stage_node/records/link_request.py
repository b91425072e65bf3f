"""Link requests: what a terminal asks a running emulation to change, a file for each."""

from stage_node.records.record import RunFile


class LinkRequest(RunFile):
    """Fields of a link's directions to change; ``said`` is how the user put it."""

    link: str
    up: dict[str, float]
    down: dict[str, float]
    said: str
