"""Plays the traces of a network while traffic flows; see :mod:`topologies.changer`."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from topologies.changer import Changer
from topologies.errors import EmulationError
from topologies.schedule import bases, changes

LOOK_S = 0.05
"""How often a replay that waits looks whether it is to begin (again)."""


class Replay:
    """Plays until left: ``with Replay(changer, origin): ...``; then all links are as before.

    ``origin`` is asked again and again for the monotonic time (ns) at which the traces are to
    begin; ``None``: not yet; another value than before: begin anew. What went wrong in the
    replay's own thread is raised on leaving.
    """

    def __init__(self, changer: Changer, origin: Callable[[], int | None]) -> None:
        self._changer = changer
        self._origin = origin
        self._ended = threading.Event()
        self._error: EmulationError | None = None
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._error and error is None:
            raise self._error

    def _run(self) -> None:
        try:
            begin_ns = self._await_origin(None)
            while begin_ns is not None:
                begin_ns = self._play(begin_ns)
            for change in bases(self._changer.spec):
                self._changer.apply(change, time.monotonic_ns())
        except EmulationError as error:
            self._error = EmulationError(f"replay: {error}")

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
