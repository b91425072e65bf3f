"""Fetching what a step asks for, whatever happens on the way.

A connection that breaks is made anew after a pause that doubles, and the download continues where
it stopped (``Range`` and ``If-Match``: RFC 9110, 14.2 and 13.1.1), so that no byte comes twice. A
damaged part is dropped by the reader, never run, and fetched again alone with what follows it. A
server that refuses is not asked again.
"""

import itertools
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from stage_node.accordion.needs import Step
from stage_node.accordion.prefix import CorruptPartError, PrefixReader
from stage_node.accordion.ue.download import (
    DeliveryError,
    Download,
    DownloadRefusedError,
    InterruptedDeliveryError,
    get_request,
)
from stage_node.records.events import DownloadEnded, EventLog

FRUITLESS_ATTEMPTS = 5
FIRST_PAUSE_S = 0.1

Feed = Callable[[bytes], None]


@dataclass(frozen=True)
class RequestPlace:
    """Place of a request in the life of a UE: its step, and how often it began anew."""

    step: int = 0
    round: int = 0


class Fetcher:
    """Fetches one model from one server into a reader, which ``feed`` feeds.

    ``receive_window_bytes``: see ``Download.open``.
    """

    def __init__(
        self,
        server: tuple[str, int],
        model: str,
        reader: PrefixReader,
        feed: Feed,
        events: EventLog,
        receive_window_bytes: int | None = None,
    ) -> None:
        self._server = server
        self._model = model
        self._reader = reader
        self._feed = feed
        self._events = events
        self._receive_window_bytes = receive_window_bytes
        self._etag: str | None = None

    def fetch(self, step: Step, place: RequestPlace) -> None:
        """Ask for what a step needs and feed all that comes.

        ``DownloadRefusedError`` where the server will not send it; ``DeliveryError``, or
        ``CorruptPartError``, once ``FRUITLESS_ATTEMPTS`` in a row have brought nothing sound.
        """
        begin_ns = time.monotonic_ns()
        end_byte: int | None = None
        fruitless = 0
        for attempt in itertools.count(1):
            sound = self._reader.received
            gone_ms = 0.0 if attempt == 1 else (time.monotonic_ns() - begin_ns) / 1e6
            try:
                self._attempt(self._request(step, end_byte, gone_ms), place, attempt)
            except DownloadRefusedError:
                # Of a stream that broke off, nothing more may be worth sending by the deadline.
                if attempt == 1 or step.admission != "stream":
                    raise
                return
            except _BrokenError as broken:
                end_byte = broken.end_byte or end_byte
                fruitless = 0 if self._reader.received > sound else fruitless + 1
                if fruitless == FRUITLESS_ATTEMPTS:
                    raise broken.cause from None
                time.sleep(FIRST_PAUSE_S * 2 ** max(0, fruitless - 1))
            else:
                return

    def _request(self, step: Step, end_byte: int | None, gone_ms: float) -> bytes:
        """The request for what is still missing; what was admitted once is not asked again."""
        needs: dict[str, float | str] = {}
        if end_byte is None:
            needs |= step.needs()
        if step.deadline_ms is not None and needs:
            needs["deadline_ms"] = max(0.0, step.deadline_ms - gone_ms)
        if step.admission is not None and needs:
            needs["admission"] = step.admission
        first_byte = self._reader.received
        return get_request(self._server, self._model, needs, first_byte, end_byte, self._etag)

    def _attempt(self, request: bytes, place: RequestPlace, attempt: int) -> None:
        """One connection, to the end of its response; ``_BrokenError`` where it breaks."""
        begin_ns, first_byte = time.monotonic_ns(), self._reader.received
        try:
            opened = Download.open(self._server, request, first_byte, self._receive_window_bytes)
        except InterruptedDeliveryError as error:
            raise _BrokenError(error, None) from None
        with closing(opened) as download:
            self._etag = download.etag or self._etag
            local_port, end_byte, trouble = download.local_port, first_byte, None
            try:
                while data := download.read(self._reader.missing):
                    end_byte += len(data)
                    self._feed(data)
            except (InterruptedDeliveryError, CorruptPartError) as error:
                trouble = error
        self._events.emit(
            DownloadEnded(
                model=self._model,
                begin_ns=begin_ns,
                first_byte=first_byte,
                end_byte=end_byte,
                local_port=local_port,
                server_port=self._server[1],
                outcome=_outcome(trouble),
                reason=str(trouble or ""),
                attempt=attempt,
                header_bytes=download.header_bytes,
                receive_window_bytes=download.receive_window_bytes,
                step=place.step,
                round=place.round,
            )
        )
        if trouble is not None:
            raise _BrokenError(trouble, download.end_byte)


class _BrokenError(Exception):
    """An attempt that did not bring all; the answer was to end before ``end_byte``, if it said."""

    def __init__(self, cause: DeliveryError | CorruptPartError, end_byte: int | None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.end_byte = end_byte


def _outcome(trouble: Exception | None) -> str:
    if trouble is None:
        return "complete"
    return "damaged" if isinstance(trouble, CorruptPartError) else "interrupted"
