"""The user equipment: asks for a model, runs what has arrived, later asks for what it lacks.

One thread receives and feeds a :class:`PrefixReader`; another runs every configuration on
held-out images as soon as it is complete, while the download goes on.
"""

import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import torch
from pydantic import ValidationError
from torch import Tensor

from stage_node.data import Dataset, SplitName, load_dataset
from stage_node.errors import BadModelError, StageNodeError
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

READ_BYTES = 1 << 18
WAKE_BYTES = 1 << 14
IDLE_TIMEOUT_S = 30.0


class DeliveryError(StageNodeError):
    """The model server refused, went away, or sent something else than was asked for."""


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
        self._address = server
        self._split = split
        self._images = data.split(split)
        self._model = model
        self._events = events
        self._reader = PrefixReader()
        self._etag: str | None = None
        warm_up(self._images.images, len(data.classes))
        self._evaluator = ThreadPoolExecutor(max_workers=1, thread_name_prefix="evaluate")
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
        connection = http.client.HTTPConnection(*self._address, timeout=IDLE_TIMEOUT_S)
        begin_ns = time.monotonic_ns()
        try:
            connection.connect()
            local_port = connection.sock.getsockname()[1]
            response = self._ask(connection, step, first_byte)
            self._receive(connection.sock, response)
        except (OSError, http.client.HTTPException) as error:
            host, port = self._address
            raise DeliveryError(f"model server {host}:{port}: {error!r}") from None
        finally:
            connection.close()
        self._events.emit(
            DownloadEnded,
            model=self._model,
            begin_ns=begin_ns,
            first_byte=first_byte,
            end_byte=self._reader.received,
            local_port=local_port,
            server_port=self._address[1],
        )
        self.wait()

    def wait(self) -> None:
        """Until every configuration that arrived has been run; what went wrong there is raised."""
        while self._evaluations:
            self._evaluations.pop(0).result()

    def close(self) -> None:
        """End the evaluating thread."""
        self._evaluator.shutdown(cancel_futures=True)

    def _ask(
        self, connection: http.client.HTTPConnection, step: Step, first_byte: int
    ) -> http.client.HTTPResponse:
        """Send the request; returns the response if it is the one that continues the file."""
        query = urlencode(step.needs())
        headers = {"Range": f"bytes={first_byte}-"} if first_byte or step.all else {}
        if self._etag is not None:
            headers["If-Match"] = self._etag
        path = f"/models/{quote(self._model)}.safetensors"
        connection.request("GET", f"{path}?{query}" if query else path, headers=headers)
        response = connection.getresponse()
        if response.status == http.client.NO_CONTENT:
            return response
        if response.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
            raise DeliveryError(
                f"the model server refused ({response.status}): {_reason(response)}"
            )
        begins = _first_byte(response)
        if begins != first_byte:
            raise DeliveryError(f"asked for bytes from {first_byte}, the answer begins at {begins}")
        self._etag = response.headers.get("ETag")
        return response

    def _receive(self, sock: socket.socket, response: http.client.HTTPResponse) -> None:
        """Feed the body to the reader as it comes, waking once per part of the file."""
        while remaining := response.length or 0:
            wait_for = min(remaining, self._reader.missing or remaining, WAKE_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wait_for)
            data = response.read1(READ_BYTES)
            if not data:
                raise DeliveryError(f"the connection ended {remaining} bytes too early")
            unknown = self._reader.header is None
            completed = self._reader.feed(data)
            if unknown and self._reader.header is not None:
                self._submit(self._build)
            for configuration in completed:
                self._events.emit(
                    ConfigurationReady,
                    model=self._model,
                    configuration=configuration,
                    file_bytes=self._reader.require_header().configurations[configuration],
                )
                self._submit(self._evaluate, configuration)

    def _submit(self, job: Callable[..., None], *arguments: object) -> None:
        self._evaluations.append(self._evaluator.submit(job, *arguments))

    def _build(self) -> None:
        """Prepare the model while its first weights are still under way."""
        self._reader.require_header().skeleton.eval()

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
    """Run a small model once: the first inference of a process pays for what torch sets up."""
    _, channels, size, _ = images.shape
    spec = ModelSpec(
        depth=8, width=16, classes=classes, in_channels=channels, image_size=size, downsample="pool"
    )
    with torch.inference_mode():
        build_model(spec).eval()(images)


def _reason(response: http.client.HTTPResponse) -> str:
    """What the server says about its refusal."""
    body = response.read(READ_BYTES).decode("utf-8", "replace")
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body.strip() or response.reason


def _first_byte(response: http.client.HTTPResponse) -> int:
    """Where in the file a response's body begins."""
    if response.status == http.client.OK:
        return 0
    described = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", described)
    if match is None:
        raise DeliveryError(f"the model server's Content-Range makes no sense: {described!r}")
    return int(match[1])
