"""Processes that run at the same time wait for each other, through the events of their run.

Each says when it has come to a point, and continues when all others have. So no pipeline is
measured before the traffic is there that it shares the network with, nor after that has ended.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from stage_node.records.events import EventFollower, EventLog, Reached

LOOK_S = 0.05


class Company:
    """One process among ``others``, named as they sign their events; of none it never waits.

    A process that ends before it has come to a point leaves the others waiting: a failed process
    ends its run.
    """

    def __init__(self, events: EventLog, path: Path, others: Sequence[str]) -> None:
        self._events = events
        self._news = EventFollower(path)
        self._others = frozenset(others)
        self._reached: set[tuple[str, str]] = set()

    def tell(self, point: str) -> None:
        """Say that this process has come to ``point``."""
        if self._others:
            self._events.emit(Reached(point=point))

    def meet(self, point: str) -> None:
        """Say so, and wait until all others have come there as well."""
        self.tell(point)
        while not all((other, point) in self._reached for other in self._others):
            time.sleep(LOOK_S)
            self._reached |= {
                (event.who, event.point)
                for event in self._news.fresh()
                if isinstance(event, Reached)
            }
