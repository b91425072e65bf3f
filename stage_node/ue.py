"""The user equipment: asks for a model, runs what has arrived, later asks for what it lacks.

One thread receives and feeds a :class:`PrefixReader`; another runs every configuration on
held-out images as soon as it is complete, while the download goes on.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from stage_node.data import Dataset, SplitName, load_dataset
from stage_node.download import Download, get_request
from stage_node.errors import BadModelError
from stage_node.events import (
    ConfigurationEvaluated,
    ConfigurationReady,
    DownloadEnded,
    EventLog,
    ModelRequested,
)
from stage_node.models import Configuration, ModelSpec, build_model
from stage_node.prefix import PrefixReader
from stage_node.steps import Step


def main(
    name: str,
    server_ip: str,
    server_port: int,
    model: str,
    steps: Sequence[Mapping[str, Any]],
    dataset: str,
    events_path: str,
    split: SplitName = "test",
    data_folder: str | None = None,
) -> None:
    """Process entry: take the steps one after the other; errors of the house end it."""
    torch.set_num_threads(1)
    try:
        checked = [Step.model_validate(step) for step in steps]
    except ValidationError as error:
        raise BadModelError(f"a step of the UE makes no sense: {error}") from None
    data = load_dataset(dataset, Path(data_folder) if data_folder else None)
    with EventLog(Path(events_path), name) as events:
        ue = UserEquipment((server_ip, server_port), model, data, split, events)
        try:
            for step in checked:
                ue.take(step)
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
    ) -> None:
        """``server`` is an address and a port; ``split`` of ``data`` is what the model runs on."""
        self._server = server
        self._split = split
        self._images = data.split(split)
        self._model = model
        self._events = events
        self._reader = PrefixReader()
        self._etag: str | None = None
        warm_up(self._images.images, len(data.classes))
        self._evaluator = ThreadPoolExecutor(1, "evaluate")
        self._evaluations: list[Future[None]] = []

    def take(self, step: Step) -> None:
        """One request and its response, then wait until all that arrived has been run.

        ``DeliveryError`` where the server refuses or the connection fails, ``PrefixError`` where
        the bytes are damaged: nothing of them has been run.
        """
        time.sleep(step.pause_ms / 1000)
        first_byte = self._reader.received
        self._events.emit(
            ModelRequested,
            model=self._model,
            deadline_ms=step.deadline_ms,
            max_bytes=step.max_bytes,
            accuracy=step.accuracy,
            first_byte=first_byte,
        )
        request = get_request(self._server, self._model, step.needs(), first_byte, self._etag)
        begin_ns = time.monotonic_ns()
        with closing(Download.open(self._server, request, first_byte)) as download:
            self._etag = download.etag or self._etag
            local_port = download.local_port
            while download.remaining:
                self._feed(download.read(self._reader.missing))
        self._events.emit(
            DownloadEnded,
            model=self._model,
            begin_ns=begin_ns,
            first_byte=first_byte,
            end_byte=self._reader.received,
            local_port=local_port,
            server_port=self._server[1],
        )
        self.wait()

    def wait(self) -> None:
        """Until every configuration that arrived has been run; what went wrong there is raised."""
        while self._evaluations:
            self._evaluations.pop(0).result()

    def close(self) -> None:
        """End the evaluating thread."""
        self._evaluator.shutdown(cancel_futures=True)

    def _feed(self, data: bytes) -> None:
        """Take bytes, and have every configuration that they complete run."""
        for configuration in self._reader.feed(data):
            self._events.emit(
                ConfigurationReady,
                model=self._model,
                configuration=configuration,
                file_bytes=self._reader.require_header().configurations[configuration],
            )
            self._evaluations.append(self._evaluator.submit(self._evaluate, configuration))

    def _evaluate(self, configuration: Configuration) -> None:
        """Load a configuration, note when its first inference ends, then measure its accuracy."""
        model = self._reader.load(configuration)
        images, labels = self._images.images, self._images.labels
        with torch.inference_mode():
            model(images[:1])
            first_inference_ns = time.monotonic_ns()
            correct = int((model(images).argmax(dim=1) == labels).sum())
        self._events.emit(
            ConfigurationEvaluated,
            t_ns=first_inference_ns,
            model=self._model,
            configuration=configuration,
            accuracy=correct / len(labels),
            samples=len(labels),
            split=self._split,
        )


def warm_up(images: Tensor, classes: int) -> None:
    """Run a small model and read a response once: the first of a process take longer."""
    Download.rehearse()
    _, channels, size, _ = images.shape
    spec = ModelSpec(
        depth=8, width=16, classes=classes, in_channels=channels, image_size=size, downsample="pool"
    )
    with torch.inference_mode():
        build_model(spec).eval()(images)
