"""Plays the traces of a network while traffic flows; see :mod:`topologies.emulation.changer`."""

import time
from collections.abc import Callable

from topologies.emulation.changer import Changer
from topologies.errors import EmulationError
from topologies.machine.background import Background
from topologies.networks.schedule import bases, changes

LOOK_S = 0.05
"""How often a replay that waits looks whether it is to begin (again)."""


class Replay(Background):
    """Plays until left: ``with Replay(changer, origin): ...``; then all links are as before.

    ``origin`` is asked again and again for the monotonic time (ns) at which the traces are to
    begin; ``None``: not yet; another value than before: begin anew.
    """

    def __init__(self, changer: Changer, origin: Callable[[], int | None]) -> None:
        super().__init__("replay")
        self._changer = changer
        self._origin = origin

    def _work(self) -> None:
        try:
            begin_ns = self._await_origin(None)
            while begin_ns is not None:
                begin_ns = self._play(begin_ns)
            for change in bases(self._changer.spec):
                self._changer.apply(change, time.monotonic_ns())
        except EmulationError as error:
            raise EmulationError(f"replay: {error}") from error

    def _play(self, begin_ns: int) -> int | None:
        """Play from the beginning; the next beginning, or ``None`` at the end of it all."""
        for change in changes(self._changer.spec):
            due_ns = begin_ns + round(change.at_ms * 1e6)
            while (left_s := (due_ns - time.monotonic_ns()) / 1e9) > 0:
                if self._ended.wait(min(left_s, LOOK_S)):
                    return None
                if (origin_ns := self._origin()) != begin_ns:
                    return origin_ns if origin_ns is not None else self._await_origin(begin_ns)
            self._changer.apply(change, due_ns)
        return self._await_origin(begin_ns)

    def _await_origin(self, before_ns: int | None) -> int | None:
        while not self._ended.wait(LOOK_S):
            if (origin_ns := self._origin()) not in (None, before_ns):
                return origin_ns
        return None
