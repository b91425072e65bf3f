"""Process entry of the model server: look-up tables, admission and HTTP put together."""

import signal
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from controller.accordion.lookup import LookupTable, read_table, table_path
from controller.accordion.serving.admission import lookup
from controller.accordion.serving.initial_window import open_window
from controller.accordion.serving.link_estimate import (
    LinkEstimate,
    doubted,
    learned,
    paced_mbit,
    path_window,
    sampled,
)
from controller.accordion.serving.streaming import stream
from stage_node.accordion.protocol import (
    Admission,
    ModelRequest,
    NotAdmittedError,
    Streaming,
)
from stage_node.accordion.server.connections import Connections
from stage_node.accordion.server.faults import Fault
from stage_node.accordion.server.model_server import ModelServer, serve, warm_up
from stage_node.accordion.server.served_file import ServedFile, read_catalog
from stage_node.processes.configuration import ProcessConfiguration
from stage_node.records.configuration import configuration_name
from stage_node.records.events import EventLog, LinkLearned, Listening, ModelOffered, WindowOpened
from stage_node.wire.tcp_info import PathEstimate

BACKLOG = 128
POLL_S = 0.01


class Admissions:
    """Decides on requests, and learns the links from the connections that end."""

    def __init__(
        self,
        catalog: Mapping[str, ServedFile],
        tables: Mapping[str, LookupTable],
        links: Mapping[str, LinkEstimate],
        events: EventLog,
    ) -> None:
        """``links`` is the first estimate of each UE's link, by the UE's address."""
        self._catalog = catalog
        self._tables = tables
        self._profiles = dict(links)
        self._links = dict(links)
        self._events = events

    def admit(self, request: ModelRequest, ue: str) -> Admission | Streaming:
        """Admit a request; ``NotAdmittedError`` says why not."""
        if request.admission == "stream":
            offered = self._catalog[request.model].configurations
            streaming = stream(request, offered, self._links.get(ue))
            return replace(streaming, refused=lambda: self._doubt(ue))
        if ue not in self._links:
            raise NotAdmittedError(403, f"nothing is known of the link to {ue}")
        if request.model not in self._tables:
            raise NotAdmittedError(409, f"{request.model} has no look-up table; ask for its bytes")
        try:
            return lookup(request, self._tables[request.model], self._links[ue])
        except NotAdmittedError:
            self._doubt(ue)
            raise

    def _doubt(self, ue: str) -> None:
        """A refusal teaches nothing: its estimate is trusted less."""
        if ue in self._links:
            self._links[ue] = doubted(self._links[ue], self._profiles[ue])

    def learn(self, ue: str, path: PathEstimate) -> None:
        """Take what the kernel says of a connection that has ended."""
        if ue not in self._links:
            return
        sample = sampled(path, self._links[ue].window_segments)
        self._links[ue] = belief = learned(self._links[ue], path)
        self._events.emit(
            LinkLearned(
                ue=ue,
                rate_mbit=belief.rate_mbit,
                rtt_ms=belief.rtt_ms,
                low_mbit=sample.low_mbit if sample else None,
                high_mbit=sample.high_mbit if sample else None,
            )
        )


class ServerConfiguration(ProcessConfiguration):
    """Configuration of the model server: the ``checkpoints`` to serve, and the links to the UEs.

    ``estimates`` is the first estimate of each UE's link before anything was measured, by the
    UE's address. ``initial_window: path`` sizes TCP's initial window to that and paces every
    connection to the rate, so that no slow start overruns the path's buffer.
    """

    name: str
    ip: str
    port: int
    checkpoints: tuple[Path, ...]
    estimates: dict[str, LinkEstimate]
    events_path: Path
    initial_window: Literal["default", "path"] = "default"
    faults: tuple[Fault, ...] = ()


def main(configuration: ServerConfiguration | Mapping[str, Any]) -> None:
    """Process entry: serve until SIGTERM; look up where there is a table beside a checkpoint.

    A damaged checkpoint or table is refused with ``BadModelError`` before anything listens.
    ``Listening`` is emitted once the server has answered requests of its own: the first ones
    would pay for memory that a forked process touches for the first time.
    """
    told = ServerConfiguration.parse(configuration)
    catalog = read_catalog(told.checkpoints)
    tables = {file.stem: read_table(file) for file in told.checkpoints if table_path(file).exists()}
    links = told.estimates
    # Being told to stop is a clean end; uvicorn repeats the signal after its own shutdown.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with (
        EventLog(told.events_path, told.name) as events,
        socket.create_server((told.ip, told.port), backlog=BACKLOG) as listener,
    ):
        pace_mbit = {}
        if told.initial_window == "path":
            links = {ue: _with_window(ue, link, events) for ue, link in links.items()}
            pace_mbit = {ue: paced_mbit(link) for ue, link in links.items()}
        admissions = Admissions(catalog, tables, links, events)
        server = ModelServer(catalog, admissions.admit, events, Connections(pace_mbit=pace_mbit))

        def announce() -> None:
            port = listener.getsockname()[1]
            for model, file in catalog.items():
                warm_up(told.ip, port, model)
                events.emit(
                    ModelOffered(
                        model=model,
                        configurations=tuple(map(configuration_name, file.configurations)),
                        end_bytes=tuple(file.configurations.values()),
                        accuracies=_accuracies(tables.get(model)),
                    )
                )
            while server.connections.open:  # its own visits teach nothing and are spared
                time.sleep(POLL_S)
            server.connections.tell = admissions.learn
            server.faults.arm(told.faults)
            events.emit(Listening(address=told.ip, port=port))

        threading.Thread(target=announce, daemon=True).start()
        serve(server, listener)


def _accuracies(table: LookupTable | None) -> tuple[float, ...] | None:
    return tuple(entry.accuracy for entry in table.entries) if table else None


def _with_window(ue: str, link: LinkEstimate, events: EventLog) -> LinkEstimate:
    """Return the link's estimate with an initial window that fills it."""
    segments = path_window(link)
    open_window(ue, segments)
    events.emit(WindowOpened(ue=ue, segments=segments))
    return replace(link, window_segments=segments)
