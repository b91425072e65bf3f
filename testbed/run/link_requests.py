"""Requests to a running emulation to change its links, on either host.

The run directory is the one thing that a terminal shares with an emulation in a microVM. A request
is a file in its ``requests`` folder, which is there as long as the emulation takes any; the answer
is an event of the run (``LinkCommanded``), so that the log holds every change, its author and time.

Requests are taken at ticks of the emulation's clock, and what was taken is kept in the run
directory, the number of the tick before its name. A run that begins with such requests takes each
at its tick, by the same steps, and so repeats.
"""

import contextlib
import json
import os
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from stage_node.records.events import EventFollower, EventLog, LinkCommanded
from stage_node.records.link_request import LinkRequest
from stage_node.records.record import BadRecordError, parse_record
from stage_node.records.run_directory import RunDirectory
from testbed.errors import BadExperimentError, TestbedError
from testbed.run.running_lock import goes_on
from topologies.emulation.changer import Changer
from topologies.errors import BadTopologyError, TopologyError
from topologies.machine.background import Background
from topologies.networks.link_change import Command, commanded, steps_between

SUFFIX = ".json"
LOOK_S = 0.1


class NoAnswerError(TestbedError):
    """A running emulation did not answer in time."""


def ask(run: RunDirectory, request: LinkRequest, timeout_s: float) -> LinkCommanded:
    """Ask the emulation of a run; its answer, that the links are changed or why not.

    Waits while the emulation is still being set up. ``BadExperimentError`` where the run is over,
    ``NoAnswerError`` after ``timeout_s``; nothing is changed later then.
    """
    name = f"{time.time_ns()}{SUFFIX}"
    news = EventFollower(run.events)
    news.fresh()
    deadline = time.monotonic() + timeout_s
    try:
        asked = False
        while time.monotonic() < deadline:
            open_still = goes_on(run.path)
            asked = asked or _leave(run.open_requests, name, request)
            for event in news.fresh():
                if isinstance(event, LinkCommanded) and event.request == name:
                    return event
            if not open_still:
                raise BadExperimentError(f"{run.path}: the run is over, its links are gone")
            time.sleep(LOOK_S)
    finally:
        with contextlib.suppress(FileNotFoundError):
            (run.open_requests / name).unlink()
    raise NoAnswerError(
        f"{run.path}: no answer within {timeout_s:g} s"
        + ("" if asked else "; its network is not ready yet")
    )


def _leave(folder: Path, name: str, request: LinkRequest) -> bool:
    """Put the request there, whole at once; False if no emulation looks for any yet."""
    half = folder / f"{name}.part"
    try:
        half.write_text(json.dumps(request.content()))
        half.rename(folder / name)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise BadExperimentError(f"{folder}: cannot be written: {error.strerror}") from error
    return True


class LinkRequests(Background):
    """Takes requests until left: ``with LinkRequests(run, changer, events): ...``."""

    def __init__(self, run: RunDirectory, changer: Changer, events: EventLog) -> None:
        super().__init__("link-requests")
        self._folder = run.open_requests
        self._taken = run.link_requests
        self._changer = changer
        self._events = events
        self._profiles = {link.name: profile for link, profile in changer.spec.shaped_links}

    def __enter__(self) -> Self:
        self._folder.mkdir()
        for file in self._taken.iterdir():  # of the run that this one repeats
            file.rename(self._folder / file.name)
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _work(self) -> None:
        tick = 0
        while not self._ended.wait(LOOK_S):
            tick += 1
            for name in sorted(file.name for file in self._folder.iterdir()):
                wanted, _, asked = name.rpartition("-")
                if name.endswith(SUFFIX) and int(wanted or tick) <= tick:
                    taken = self._taken / f"{tick:06d}-{asked}"
                    with contextlib.suppress(FileNotFoundError):  # withdrawn
                        (self._folder / name).rename(taken)
                        self._answer(asked, read_bytes(taken))

    def _answer(self, name: str, text: bytes) -> None:
        said, refusal = "", None
        try:
            request = parse_record(LinkRequest, text, "not a request")
            said = request.said
            self._change(Command(request.link, request.up, request.down))
        except (BadRecordError, TopologyError) as error:
            refusal = str(error)
        self._events.emit(LinkCommanded(request=name, said=said, refusal=refusal))

    def _change(self, command: Command) -> None:
        if command.link not in self._profiles:
            self._changer.spec.link(command.link)  # says which there are
            raise BadTopologyError(f"link {command.link} is a plain cable, it has no shape")
        before = self._profiles[command.link]
        after = commanded(self._changer.spec, command, before)
        due_ns = time.monotonic_ns()
        for change in steps_between(command.link, before, after):
            self._changer.apply(change, due_ns)
        self._profiles[command.link] = after


def read_bytes(file: Path) -> bytes:
    """Read a small file by system calls alone: a Python file has a lock, and to ask for a lock is
    to ask for the time, which costs some on the virtual clock."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return os.read(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
