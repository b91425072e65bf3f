"""When the network is to set the pace: only of these times is an idle CPU asked for."""

from stage_node.records.events import DownloadEnded, Measurement, Phase
from testbed.run.emulation import network_bound


def test_measurements_and_downloads_are_network_bound_and_nothing_else_is() -> None:
    measurement = Measurement(
        t_ns=900,
        who="controller",
        label="before",
        generation=0,
        rungs=("identity",),
        begin_ns=100,
        end_ns=800,
        accuracy=0.9,
        samples=10,
        split="test",
    )
    download = DownloadEnded(
        t_ns=1400,
        who="ue1",
        model="resnet20",
        begin_ns=1000,
        first_byte=0,
        end_byte=1,
        local_port=40000,
        server_port=80,
    )
    phase = Phase(t_ns=50, who="runner", phase="pipeline", state="begin")
    assert network_bound([phase, measurement, download]) == [(100, 800), (1000, 1400)]
