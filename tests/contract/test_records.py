"""Every record of a run directory: the part that writes it writes what the reader reads."""

import json
import signal
import socket
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.errors import NotARunError
from analysis.run.computing import computing_summary
from analysis.run.ledger import LEDGER_SCHEMA, read_table
from analysis.run.network import Network
from controller.split.compute_table import Column, ComputeTable
from stage_node.records import events as all_events
from stage_node.records.captures import CapturesRecord
from stage_node.records.computing import ComputingRecord
from stage_node.records.events import Event, EventLog, read_events
from stage_node.records.experiment import ExperimentRecord
from stage_node.records.fidelity import FidelityRecord
from stage_node.records.ledger import LATER_COLUMNS, TABLES, Ledger, to_parquet
from stage_node.records.link_request import LinkRequest
from stage_node.records.machine import FailureRecord, MachineRecord
from stage_node.records.manifest import ManifestRecord
from stage_node.records.network import NetworkRecord
from stage_node.records.record import BadRecordError, RunFile, read_record
from stage_node.records.run_directory import RunDirectory
from stage_node.wire.frame import FrameKind, Header
from stage_node.wire.frame_log import FrameLog
from testbed.devices.computing import Computing, HostDevice
from testbed.devices.profiles import DeviceProfile
from testbed.experiment.file import load_experiment
from testbed.hosts.choose import ChosenHost
from testbed.hosts.microvm import MicroVm
from testbed.planning.plan import RunPlan
from testbed.run import emulation
from testbed.run.directory import complete_manifest, create_run_directory
from testbed.run.manifest import clock_pair, describe_machine
from testbed.run.runner import describe_origin, failure_of
from topologies.emulation.capture_counters import parse_counters
from topologies.links.profiles import load_profile
from topologies.networks.addressing import plan_of
from topologies.networks.description import describe_network
from topologies.networks.shapes import chain, edge_cloud

FILES = (
    *(CapturesRecord, FailureRecord, FidelityRecord, LinkRequest, MachineRecord, ManifestRecord),
    NetworkRecord,
)
LTE = load_profile("lte")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run_directory("contract", tmp_path / "run")


def test_the_network_is_read_as_it_was_described(run: RunDirectory) -> None:
    spec = edge_cloud(["ue1", "ue2"], access=LTE, backhaul=load_profile("fibre"))
    described = describe_network(plan_of(spec))
    described.write(run.network)
    read = Network.read(run.network)
    assert read.content() == described.content()
    assert described.model_fields_set >= NetworkRecord.model_fields.keys() - {"schema_version"}
    assert [link.name for link in read.links] == [link.name for link, _ in spec.shaped_links]
    assert read.links[0].shape("b_to_a").rate_mbit == LTE.down.rate_mbit


TOLD = "{} packets captured\n{} packets received by filter\n{} packets dropped by kernel\n"


def test_what_tcpdump_counted_is_read_and_so_is_the_bare_list_of_before(run: RunDirectory) -> None:
    counted = parse_counters("a-eth0", "a-b", TOLD.format(7, 9, 1))
    assert counted
    CapturesRecord(captures=(counted,)).write(run.capture_counters)
    read = CapturesRecord.read(run.capture_counters)
    assert (read.schema_version, read.captures) == (2, (counted,))
    assert counted.missing == 3
    run.capture_counters.write_text(json.dumps([counted.model_dump()]))
    assert CapturesRecord.read(run.capture_counters).captures == (counted,)


def test_the_manifest_is_read_as_the_runner_and_the_emulation_leave_it(run: RunDirectory) -> None:
    plan = RunPlan(clock="virtual", seed=7, network=chain(["a", "b"], LTE), phases=())
    describe_origin(run, "contract", plan, ChosenHost(MicroVm(), "played"))
    begun = ManifestRecord.read(run.manifest)
    assert (begun.name, begun.seed, begun.host) == ("contract", 7, "microvm")
    assert (begun.clock_kind, begun.machine, begun.clock) == ("virtual", None, None)
    told = MachineRecord(machine=describe_machine(), clock=(clock_pair(),))
    told.write(run.machine)
    complete_manifest(run)
    ended = ManifestRecord.read(run.manifest)
    assert (ended.machine, ended.clock) == (told.machine, told.clock)
    written = json.loads(run.manifest.read_text()).keys() - {"schema"}
    assert written == ManifestRecord.model_fields.keys() - {"schema_version"}


def test_why_an_emulation_failed_is_read_by_the_runner(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    run.plan.write_text("{}")
    status = emulation.main()
    failure = FailureRecord.read(run.failure)
    assert (failure.type, failure.status) == ("ValidationError", status)
    assert failure_of(run, status) == failure.message


def test_what_computing_is_charged_is_read_by_the_report(run: RunDirectory) -> None:
    column = Column(images=1, cpu_model="cpu", torch_version="2", measured="2026-12-01",
                    layer_ms={"stem": 1.5})  # fmt: skip
    table = ComputeTable(model="m", checkpoint_sha256="0", columns=(column,))
    profiles = (
        DeviceProfile(name="instant", source="s", speed=float("inf")),
        DeviceProfile(name="measured", source="s", tables=(table,)),
    )
    devices = {each.name: HostDevice(profile=each, cpu_share=0.5) for each in profiles}
    computing = Computing(declared=True, devices=devices, tables=(table,))
    run.computing.write_text(computing.model_dump_json(indent=1))
    read = read_record(ComputingRecord, run.computing)
    assert read.model_dump() == computing.model_dump()
    summary = computing_summary(read)
    assert [(each.device, each.speed) for each in summary.devices] == [
        ("instant", None),
        ("measured", None),
    ]


def test_the_floor_of_an_experiment_is_read_as_it_was_resolved(run: RunDirectory) -> None:
    experiment = load_experiment(Path("testbed/experiments/demo.yaml"), [])
    dumped = experiment.model_dump(mode="json")
    read = ExperimentRecord.model_validate(yaml.safe_load(yaml.safe_dump(dumped)))
    asked = {name: split.targets for name, split in experiment.split_models.items()}
    assert read.targets.keys() == asked.keys()
    for name, targets in asked.items():
        assert targets
        for field in type(read.targets[name]).model_fields:
            assert getattr(read.targets[name], field) == getattr(targets, field)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        server, _ = listener.accept()
        with client, server:
            yield client, server


def test_the_tables_of_the_ledger_are_read_as_the_processes_wrote_them(
    run: RunDirectory, pair: tuple[socket.socket, socket.socket]
) -> None:
    ledger = Ledger("edge", run.ledger)
    log = FrameLog.of(ledger, 2, pair[0], "cloud")
    log.sent(
        Header(kind=FrameKind.ACTIVATION, payload_bytes=10, sequence=5, shape=(8,)), 0, 1, 2, 3
    )
    ledger.compute.append(5, 1, 8, 90, 100, 200)
    ledger.results.append(5, 1, 8, 7, 80, 300)
    ledger.save()
    to_parquet(run.ledger)
    problems: list[str] = []
    tables = {name: read_table(run, name, (), problems) for name in TABLES}
    assert not problems
    (frame,) = tables["frames"].rows(named=True)
    assert (frame["node"], frame["peer"], frame["direction"]) == ("edge", "cloud", "send")
    assert (frame["kind"], frame["sequence"], frame["end_byte"]) == ("activation", 5, 74)
    assert tables["compute"]["t_free_ns"].to_list() == [90]
    assert tables["results"]["correct"].to_list() == [7]
    for name, table in tables.items():
        assert dict(table.schema) == LEDGER_SCHEMA[name]


@pytest.mark.parametrize("name", LATER_COLUMNS)
def test_a_ledger_of_before_lacks_its_later_columns(name: str, run: RunDirectory) -> None:
    import polars as pl

    older = pl.DataFrame(schema=LEDGER_SCHEMA[name]).drop(LATER_COLUMNS[name])
    older.write_parquet(run.ledger / f"{name}.parquet")
    assert read_table(run, name, (), []).columns == list(LEDGER_SCHEMA[name])
    older.drop("sequence").write_parquet(run.ledger / f"{name}.parquet")
    with pytest.raises(NotARunError, match=f"not a {name} table"):
        read_table(run, name, (), [])


def an_event(kind: type[Event]) -> Event:
    """One of a kind with every field filled in."""
    samples = {"int": 3, "float": 2.5, "str": "a_to_b", "tuple": ("x", "y"), "bool": True}
    values: dict[str, Any] = {}
    for field in fields(kind):
        told = getattr(field.type, "__name__", str(field.type))
        values[field.name] = samples.get(told.split("[")[0], "a_to_b")
    return kind(**values)


def test_every_kind_of_event_is_read_as_it_was_emitted(run: RunDirectory) -> None:
    kinds = [each for each in vars(all_events).values() if isinstance(each, type)]
    kinds = [each for each in kinds if issubclass(each, Event) and each is not Event]
    assert {each.kind for each in kinds} == Event.registry.keys() and len(kinds) >= 28
    emitted = [an_event(kind).stamped(1, "edge") for kind in kinds]
    with EventLog(run.events, "edge") as log:
        for event in emitted:
            log.emit(event)
    assert list(read_events(run.events)) == emitted


def test_these_are_all_files_with_a_schema() -> None:
    assert set(FILES) == set(RunFile.__subclasses__())


@pytest.mark.parametrize("kind", FILES)
def test_a_newer_schema_is_refused_in_one_line(kind: type[RunFile], tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text(json.dumps({"schema": kind.NEWEST + 1}))
    with pytest.raises(BadRecordError) as refusal:
        kind.read(file)
    assert str(refusal.value) == (
        f"{file}: schema: schema {kind.NEWEST + 1} is of a newer Concertina; this one reads up to "
        f"{kind.NEWEST}"
    )


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_none_is_told_in_one_line(kind: type[RunFile], tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    for content in (None, "{", "[1, 2]", '"text"', "{}"):
        if content is not None:
            file.write_text(content)
        with pytest.raises(BadRecordError, match="file") as refusal:
            kind.read(file)
        assert "\n" not in str(refusal.value)
