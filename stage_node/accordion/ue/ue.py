"""The user equipment: asks for a model, runs what has arrived, later asks for what it lacks.

One thread receives and feeds a :class:`PrefixReader`; another, of the lowest priority, runs every
configuration on held-out images as soon as it is complete, while the download continues.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from stage_node.accordion.needs import Step
from stage_node.accordion.prefix import PrefixReader
from stage_node.accordion.ue.download import DownloadRefusedError
from stage_node.accordion.ue.fetch import Fetcher, RequestPlace
from stage_node.accordion.ue.model_in_use import ModelInUse
from stage_node.accordion.ue.rehearsal import rehearse_computing, rehearse_receiving
from stage_node.data import Dataset, SplitName, load_dataset
from stage_node.errors import BadModelError
from stage_node.models import build_model
from stage_node.processes.charges import known_ms, sleep_exactly, spend
from stage_node.processes.configuration import ProcessConfiguration
from stage_node.processes.priority import put_computing_last
from stage_node.processes.rendezvous import Company
from stage_node.records.configuration import Configuration, configuration_name
from stage_node.records.events import (
    ConfigurationEvaluated,
    ConfigurationReady,
    EventLog,
    ModelRequested,
    SteppedDown,
    StepRefused,
)


class UeConfiguration(ProcessConfiguration):
    """Configuration of a UE: its steps one after the other, ``repeat`` times from no model.

    The first ``images`` of a ``split`` are what the model runs on. ``company`` are the processes
    that wait for each other. ``receive_window_bytes`` is what may be under way at once from the
    beginning; without it, what the kernel offers. ``inference_ms`` is what an inference takes on
    the device that the UE stands for, by configuration (``3-1-0``); without it, nothing is charged.
    """

    name: str
    server_ip: str
    server_port: int
    model: str
    steps: tuple[Step, ...]
    dataset: str
    events_path: Path
    split: SplitName = "test"
    repeat: int = 1
    images: int = 300
    company: tuple[str, ...] = ()
    receive_window_bytes: int | None = None
    inference_ms: dict[str, float] | None = None


def main(configuration: UeConfiguration | Mapping[str, Any]) -> None:
    """Process entry: take the steps once all processes of the company are ready to be measured.

    Errors of the house end it; a refusal of a step that is not required is an event and no error.
    """
    told = UeConfiguration.parse(configuration)
    torch.set_num_threads(1)
    data = load_dataset(told.dataset)
    with EventLog(told.events_path, told.name) as events:
        ue = UserEquipment(
            (told.server_ip, told.server_port),
            told.model,
            data,
            told.split,
            events,
            told.images,
            told.receive_window_bytes,
            told.inference_ms,
        )
        others = Company(events, told.events_path, told.company)
        try:
            others.meet("ready")
            for round_ in range(told.repeat):
                ue.begin(round_)
                for number, step in enumerate(told.steps):
                    ue.take(step, number)
            others.tell("done")
        finally:
            ue.close()


class UserEquipment:
    """Holds one model that grows, and runs it."""

    def __init__(
        self,
        server: tuple[str, int],
        model: str,
        data: Dataset,
        split: SplitName,
        events: EventLog,
        images: int = 300,
        receive_window_bytes: int | None = None,
        inference_ms: Mapping[str, float] | None = None,
    ) -> None:
        """``server`` is an address and a port; the first ``images`` of ``split`` of ``data`` are
        what the model runs on. ``receive_window_bytes``: see ``Download.open``; ``inference_ms``:
        see ``UeConfiguration``."""
        self._server = server
        self._receive_window_bytes = receive_window_bytes
        self._inference_ms = inference_ms
        if inference_ms is not None:
            sleep_exactly()
        self._split = split
        self._images = data.split(split).first(images)
        self._model = model
        self._events = events
        self._runner = ThreadPoolExecutor(1, "run", initializer=put_computing_last)
        one = self._images.images[:1]
        for reader in rehearse_receiving(tuple(one.shape[1:]), len(data.classes)):
            self._runner.submit(rehearse_computing, reader, one).result()
        self._runs: list[Future[tuple[Configuration, int]]] = []
        self._accuracies: dict[tuple[str, Configuration], float] = {}
        self.begin(0)

    def begin(self, round_: int) -> None:
        """Forget the model, and begin without one."""
        self._round = round_
        self._reader = PrefixReader()
        self._in_use = ModelInUse()
        self._fetcher = Fetcher(
            self._server,
            self._model,
            self._reader,
            self._feed,
            self._events,
            self._receive_window_bytes,
        )

    def take(self, step: Step, number: int = 0) -> None:
        """One step, then wait until all that arrived has been run.

        ``DeliveryError`` where the server does not deliver, ``PrefixError`` where the bytes stay
        damaged however often they are fetched: nothing of them has been run. A refusal, which is
        an error where the step is required, leaves the model as it was.
        """
        time.sleep(step.pause_ms / 1000)
        try:
            if step.local:
                self._step_down(step, number)
            else:
                self._request(step, number)
        except (DownloadRefusedError, NotHereError) as refusal:
            status = refusal.status if isinstance(refusal, DownloadRefusedError) else None
            if step.required or (status is not None and status >= 500):
                raise
            reason = refusal.reason if isinstance(refusal, DownloadRefusedError) else str(refusal)
            self._events.emit(
                StepRefused(
                    model=self._model,
                    status=status,
                    reason=reason,
                    step=number,
                    round=self._round,
                )
            )
        finally:
            self.wait()

    def wait(self) -> None:
        """Until every configuration that arrived has been run, then tell how well each does.

        What went wrong there is raised. Accuracies are the testbed's business, no application's:
        they are measured when nothing more is under way, and hold no first inference up.
        """
        ran = []
        while self._runs:
            ran.append(self._runs.pop(0).result())
        for configuration, first_inference_ns in ran:
            self._events.emit(
                ConfigurationEvaluated(
                    t_ns=first_inference_ns,
                    model=self._model,
                    configuration=configuration,
                    accuracy=self._runner.submit(self._accuracy, configuration).result(),
                    samples=len(self._images.labels),
                    split=self._split,
                    round=self._round,
                )
            )

    def close(self) -> None:
        """End the thread that computes."""
        self._runner.shutdown(cancel_futures=True)

    def _request(self, step: Step, number: int) -> None:
        """Ask the server, and receive what it sends."""
        self._events.emit(
            ModelRequested(
                model=self._model,
                deadline_ms=step.deadline_ms,
                max_bytes=step.max_bytes,
                accuracy=step.accuracy,
                first_byte=self._reader.received,
                admission=step.admission or ("none" if step.all else "lookup"),
                step=number,
                round=self._round,
            )
        )
        self._fetcher.fetch(step, RequestPlace(number, self._round))

    def _step_down(self, step: Step, number: int) -> None:
        """Run another configuration of those that are here."""
        configuration, macs = affordable(self._reader, step)
        self._events.emit(
            SteppedDown(
                model=self._model,
                configuration=configuration,
                macs=macs,
                step=number,
                round=self._round,
            )
        )
        self._run(configuration)

    def _feed(self, data: bytes) -> None:
        """Take bytes, and have every configuration that they complete run, damage or not."""
        before = len(self._reader.completed())
        try:
            self._reader.feed(data)
        finally:
            for configuration in self._reader.completed()[before:]:
                self._events.emit(
                    ConfigurationReady(
                        model=self._model,
                        configuration=configuration,
                        file_bytes=self._reader.require_header().configurations[configuration],
                        round=self._round,
                    )
                )
                self._run(configuration)

    def _run(self, configuration: Configuration) -> None:
        self._runs.append(self._runner.submit(self._take_into_use, configuration))

    def _take_into_use(self, configuration: Configuration) -> tuple[Configuration, int]:
        """Swap to a configuration and infer once; returns when that inference ended, too."""
        self._in_use.swap(configuration, self._reader.load(configuration))
        t_begin_ns = time.monotonic_ns()
        self._in_use.infer(self._images.images[:1])
        if self._inference_ms is not None:
            name = configuration_name(configuration)
            spend(t_begin_ns, known_ms(self._inference_ms, name, "an inference of"))
        return configuration, time.monotonic_ns()

    def _accuracy(self, configuration: Configuration) -> float:
        """Accuracy of a configuration; the same bytes, by their digests, are measured once."""
        identity = self._reader.require_header().metadata["header_sha256"], configuration
        if identity not in self._accuracies:
            with torch.inference_mode():
                logits = self._reader.load(configuration)(self._images.images)
            correct = int((logits.argmax(dim=1) == self._images.labels).sum())
            self._accuracies[identity] = correct / len(self._images.labels)
        return self._accuracies[identity]


class NotHereError(BadModelError):
    """The UE holds no configuration like the one it is to run."""


def affordable(reader: PrefixReader, step: Step) -> tuple[Configuration, int]:
    """The configuration that a step without transfer runs, and its multiply-accumulates.

    The one it names, or the largest within its ``max_macs``; ``NotHereError`` says why none.
    """
    complete = reader.completed()
    if not complete:
        raise NotHereError("no configuration is complete yet")
    model = build_model(reader.require_header().spec)
    macs = model.macs()
    costs = {c: sum(macs[layer] for layer in model.subset(c)) for c in complete}
    if step.run is not None and step.run not in costs:
        raise NotHereError(
            f"{configuration_name(step.run)} is not complete; {_listed(complete)} are"
        )
    if step.run is not None:
        return step.run, costs[step.run]
    within = [c for c in complete if costs[c] <= (step.max_macs or 0)]
    if not within:
        least = min(complete, key=lambda c: costs[c])
        raise NotHereError(
            f"the smallest, {configuration_name(least)}, takes {costs[least]} "
            f"multiply-accumulates, more than max_macs={step.max_macs}"
        )
    return within[-1], costs[within[-1]]


def _listed(configurations: Sequence[Configuration]) -> str:
    return ", ".join(map(configuration_name, configurations))
