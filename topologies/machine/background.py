"""Work in a thread beside a block: ``with`` begins it, leaving the block ends it."""

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Background(ABC):
    """A thread that works until ``_ended``; what went wrong in it is raised on leaving."""

    def __init__(self, name: str) -> None:
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._guarded, name=name, daemon=True)

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
        if self._error is not None and error is None:
            raise self._error

    @abstractmethod
    def _work(self) -> None:
        """The thread's work; it returns soon after ``_ended`` is set."""

    def _guarded(self) -> None:
        try:
            self._work()
        except Exception as error:
            self._error = error
