"""Pipelines of real stage processes over loopback, and proxies that watch their connections."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from stage_node.data import load_dataset
from stage_node.fringe.messages import Configure
from stage_node.fringe.rpc import ControlClient
from stage_node.fringe.stage import StageConfiguration
from stage_node.models import ChainModel, ModelSpec, build_model
from stage_node.processes.zygote import Zygote
from stage_node.wire.contract import ActivationContract
from stage_node.wire.frame import HEADER_BYTES, FrameKind, Header
from stage_node.wire.rung import Rung

LOOPBACK = "127.0.0.1"
SPEC = ModelSpec(depth=8, width=8, classes=10, in_channels=1, image_size=8)
STAGES = (("stem", "block1_0"), ("block2_0",), ("block3_0", "head"))
NAMES = ("ue", "edge", "cloud")


def random_model(seed: int = 1, spec: ModelSpec = SPEC) -> ChainModel:
    """A model whose predictions depend on everything: normalisation statistics are those of images,
    offsets are random, and no class is likelier than another before the image was looked at."""
    torch.manual_seed(seed)
    model = build_model(spec).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.momentum = 1.0
    images = load_dataset("digits").train.images[:200]
    linear = model.layers["head"].linear
    with torch.no_grad():
        model(images)
        logits = model.eval()(images)
        linear.weight /= logits.std(0)[:, None]
        linear.bias.copy_((linear.bias - logits.mean(0)) / logits.std(0))
    return model


def random_cut(channels: int, seed: int) -> tuple[Tensor, Tensor]:
    """An orthogonal basis and a mean."""
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(channels, channels, generator=generator)
    return torch.linalg.qr(square).Q.contiguous(), torch.randn(channels, generator=generator)


def rungs_of(widths: Sequence[int | None]) -> tuple[Rung, ...]:
    """Rungs that differ in width alone."""
    return tuple(Rung(name=f"width {width}", width=width) for width in widths)


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass
class Proxy:
    """Forwards one connection to ``target`` and keeps what the connecting side sent."""

    target: int
    port: int = field(default_factory=free_port)
    sent: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, self.port))
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with self._listener:
            client = self._listener.accept()[0]
        server = socket.create_connection((LOOPBACK, self.target))
        threading.Thread(target=_pump, args=(server, client, bytearray()), daemon=True).start()
        _pump(client, server, self.sent)

    def frames(self) -> Iterator[tuple[int, Header, bytes]]:
        """First byte, header and payload of every complete frame."""
        stream, first = bytes(self.sent), 0
        while len(stream) >= first + HEADER_BYTES:
            header = Header.decode(stream[first : first + HEADER_BYTES])
            end = first + HEADER_BYTES + header.payload_bytes
            if end > len(stream):
                return
            yield first, header, stream[first + HEADER_BYTES : end]
            first = end

    def of_kind(self, kind: FrameKind) -> list[tuple[Header, bytes]]:
        return [(header, payload) for _, header, payload in self.frames() if header.kind is kind]


def _pump(source: socket.socket, sink: socket.socket, record: bytearray) -> None:
    """Pass on bytes and an orderly end; a broken side breaks the other."""
    try:
        while data := source.recv(1 << 16):
            record += data
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@dataclass
class Rig:
    """A configured pipeline: a client and a pid per stage, a proxy on every connection."""

    model: ChainModel
    clients: list[ControlClient]
    pids: list[int]
    data: list[Proxy]
    results: Proxy
    folder: Path

    def start(self) -> None:
        for client in reversed(self.clients):
            client.start()

    def prepare(self, generation: int, widths: Sequence[int | None]) -> None:
        for client in self.clients:
            client.prepare(generation, rungs_of(widths))

    def stop(self, zygote: Zygote) -> list[int]:
        """Stop in order; the exit statuses."""
        for client in self.clients:
            client.stop()
        return [zygote.wait(pid, 10) for pid in self.pids]

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


@contextlib.contextmanager
def pipeline(
    zygote: Zygote,
    folder: Path,
    *,
    stages: Sequence[tuple[str, ...]] = STAGES,
    window: int = 4,
    batch: int = 8,
    codecs: Sequence[str] = ("fp32",),
    fringe: Sequence[str] = (),
    spec: ModelSpec = SPEC,
    changes: dict[int, dict[str, object]] | None = None,
) -> Iterator[Rig]:
    """Stage processes that are configured and loaded, not started.

    ``changes`` overrides fields of a stage's configuration, by position.
    """
    model = random_model(spec=spec)
    shapes = model.shapes()
    contracts = [
        ActivationContract(
            cut=cut, shape=shapes[layers[-1]][1:], max_batch=batch, codecs=tuple(codecs)
        )
        for cut, layers in enumerate(stages[:-1])
    ]
    ports = [free_port() for _ in stages]
    data = [Proxy(port) for port in ports[1:]]
    results_port = free_port()
    results = Proxy(results_port)
    with contextlib.ExitStack() as stack:
        pids, clients = [], []
        for name in NAMES[: len(stages)]:
            port = free_port()
            told = StageConfiguration(
                name=name,
                control_ip=LOOPBACK,
                control_port=port,
                ledger_dir=folder,
                events_path=folder / "events.jsonl",
            )
            pids.append(
                zygote.spawn(
                    name,
                    told.entry(),
                    {"configuration": told.model_dump(mode="json")},
                    log_path=folder / f"{name}.log",
                )
            )
            clients.append(stack.enter_context(ControlClient(name, LOOPBACK, port)))
        for index, (client, layers) in enumerate(zip(clients, stages, strict=True)):
            last = index == len(stages) - 1
            configuration = Configure(
                stage=index,
                stages=len(stages),
                model=spec,
                model_hash="cafe",
                layers=layers,
                fringe=tuple(name for name in fringe if name in layers),
                upstream=contracts[index - 1] if index else None,
                downstream=None if last else contracts[index],
                listen_ip=LOOPBACK if index else None,
                data_port=ports[index],
                next_ip=None if last else LOOPBACK,
                next_port=None if last else data[index].port,
                results_ip=LOOPBACK,
                results_port=results.port if last and index else results_port,
                window=window,
                batch=batch,
                dataset="digits" if index == 0 else None,
            )
            client.configure(configuration.model_copy(update=(changes or {}).get(index, {})))
            client.load_layers(model.segment(layers).state_dict())
        yield Rig(model, clients, pids, data, results, folder)
