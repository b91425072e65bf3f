"""A specified network, running: Mininet, started in batches.

Mininet starts a shell command per setting, which takes seconds where processes are slow to
start. Here the nodes' shells start together, and then one ``ip -batch`` creates every interface,
one per node configures it, and one ``tc -batch`` shapes every link.

Everything lives in namespaces held by the nodes' shells, so that it goes when they go; see
:mod:`topologies.emulation.nodes`. Besides the spec's own nodes there are two: ``wires``, where
links are shaped (see :mod:`topologies.networks.shaping`), and ``ctl``, the controller's host, which
holds the unshaped management network.
"""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from mininet.net import Mininet

from stage_node.records.fidelity import QdiscCounters
from stage_node.records.network import NetworkRecord
from stage_node.records.vocabulary import DIRECTIONS, Direction
from topologies.emulation import ip_batch as iproute
from topologies.emulation.closing import is_closing
from topologies.emulation.mininet_link import ShapedWire
from topologies.emulation.nodes import NamespaceBridge, NamespaceHost, NamespaceNode
from topologies.emulation.qdiscs import (
    NetemReading,
    counters_of,
    is_idle,
    parse_meters,
    parse_qdiscs,
)
from topologies.emulation.sysctls import host_sysctls, write_sysctls
from topologies.emulation.topo import SpecTopo
from topologies.errors import BadTopologyError, EmulationError
from topologies.links.profiles import LinkProfile
from topologies.machine.interfaces import prepare_interfaces
from topologies.machine.namespaces import namespace_of, processes_inside, run, run_inside
from topologies.networks.addressing import CONTROLLER_NAME, Plan, management_ips
from topologies.networks.description import describe_network
from topologies.networks.shaping import change_lines, shape_of
from topologies.networks.spec import NetworkSpec

WIRES_NAME = "wires"
ANSWER_S = 0.1  # a host's own time until it answers: delayed acknowledgements take 40 ms
IDLE_TIMEOUT_S = 30.0
CLOSING_S = 10.0


class EmulatedNetwork(Mininet):  # type: ignore[misc]
    """The network of a spec: ``with EmulatedNetwork(spec, log_dir) as net: ...``.

    Needs root and a kernel with veth, netem, mirred, matchall, police (and bridge). The batches
    are kept in ``log_dir``. Raises ``EmulationError`` where the kernel or a tool refuses, and
    leaves nothing behind then either.
    """

    def __init__(self, spec: NetworkSpec, log_dir: Path) -> None:
        if os.geteuid() != 0:
            raise EmulationError("emulating a network needs root")
        # Mininet's own initialisation raises limits of the whole machine; none is needed here.
        Mininet.inited = True
        topo = SpecTopo(spec)
        super().__init__(
            topo=topo,
            host=NamespaceHost,
            switch=NamespaceBridge,
            link=ShapedWire,
            controller=None,
            build=False,
        )
        self.spec = spec
        self.plan: Plan = topo.plan
        self._log_dir = log_dir
        self._namespaces: dict[str, int] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Build the network and wait until every link carries packets."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        try:
            super().start()
        except BaseException:
            self.stop()
            raise

    def buildFromTopo(self, topo: SpecTopo) -> None:  # noqa: N802 (Mininet's name)
        """Launch every node, wait for all of them, create all interfaces in one batch."""
        for name in (CONTROLLER_NAME, WIRES_NAME):
            self.nameToNode[name] = NamespaceHost(name)
        super().buildFromTopo(topo)
        settings = host_sysctls(self.plan)
        for node in self._nodes():
            node.wait_shell()
            self._namespaces[node.name] = namespace_of(node.pid)
            write_sysctls(node.pid, settings)
        lines = iproute.management_veth_lines(self.plan, {n.name: n.pid for n in self._nodes()})
        for wire in self._wires():
            lines += wire.create_lines(self.host_pid(WIRES_NAME))
        run("ip", "-batch", self._batch("interfaces.ip", lines))

    def configHosts(self) -> None:  # noqa: N802 (Mininet's name)
        """Configure every node and shape the wires, one batch for each."""
        inner = [name for wire in self._wires() if wire.profile for name in wire.inner]
        self._ip_batch(WIRES_NAME, iproute.wires_lines(inner))
        self._ip_batch(CONTROLLER_NAME, iproute.controller_lines(self.plan))
        for host in self.spec.hosts:
            self._ip_batch(host, iproute.host_lines(self.plan, host))
        for switch in self.spec.switches:
            self._ip_batch(switch, iproute.bridge_lines(self.plan, switch))
            batch = self._batch(f"{switch}.fdb", iproute.forwarding_lines(self.plan, switch))
            run_inside(self.host_pid(switch), "bridge", "-batch", batch)
        shaping = [line for wire in self._wires() for line in wire.shape_lines(self.spec.shaper)]
        self._tc_batch("wires.tc", shaping)
        prepare_interfaces(self.host_pid(WIRES_NAME), inner)
        for name in (*self.spec.hosts, *self.spec.switches):
            prepare_interfaces(self.host_pid(name), self.interfaces(name))

    def stop(self) -> None:
        """End every process inside the network's namespaces, and the namespaces with them."""
        for pid in processes_inside(set(self._namespaces.values())):
            os.kill(pid, signal.SIGKILL)
        nodes = list(self._nodes())
        for node in nodes:
            node.hang_up()
        for node in nodes:
            node.terminate()
        self._namespaces.clear()

    def host_pid(self, name: str) -> int:
        """A process in the node's namespaces, for ``setns``; also of ``ctl`` and switches."""
        if name not in self.nameToNode:
            raise BadTopologyError(f"node {name!r} is not known")
        pid: int = self.nameToNode[name].pid
        return pid

    def mgmt_ip(self, name: str) -> str:
        """The host's (or ``ctl``'s) address on the unshaped management network."""
        return str(management_ips(self.spec)[name])

    def data_ip(self, host: str, towards: str | None = None) -> str:
        """The host's address on the way to another host, or of its first interface."""
        return str(self.plan.data_ip(host, towards))

    def interfaces(self, node: str) -> tuple[str, ...]:
        """The node's data interfaces, in the order of the links."""
        return tuple(port.interface for port in self.plan.ports(node))

    def apply(self, link: str, direction: Direction, profile: LinkProfile) -> None:
        """Change one direction of a living link in place; queued frames stay queued."""
        self._tc_batch(f"{link}-{direction}.tc", self.change_lines(link, direction, profile))

    def change_lines(self, link: str, direction: Direction, profile: LinkProfile) -> list[str]:
        """The ``tc -batch`` lines, for the namespace ``wires``, with which ``apply`` does it."""
        tap = self._wire(link).tap(direction)
        return change_lines(tap, shape_of(profile, direction), self.spec.shaper)

    def wait_idle(self) -> None:
        """Return once no shaped link holds a frame, none has passed for the largest delay, and no
        host still closes a connection.

        Frames on their way when this is called are delivered and answered by then. A connection
        whose end is not acknowledged is waited for no longer than ``CLOSING_S``. Raises
        ``EmulationError`` if the links do not come to rest though every queue had time to drain.
        """
        shapes = [
            shape_of(profile, way) for _, profile in self.spec.shaped_links for way in DIRECTIONS
        ]
        drain_s = max((each.buffer_bytes * 8 / each.rate_bit for each in shapes), default=0.0)
        delay_s = max(((each.delay_us + each.jitter_us) / 1e6 for each in shapes), default=0.0)
        deadline = time.monotonic() + drain_s + IDLE_TIMEOUT_S
        patience = time.monotonic() + CLOSING_S
        before = self._netem_readings()
        while True:
            time.sleep(delay_s + ANSWER_S)
            after = self._netem_readings()
            closing = any(is_closing(self.host_pid(host)) for host in self.spec.hosts)
            if is_idle(before, after) and not (closing and time.monotonic() < patience):
                return
            if time.monotonic() > deadline:
                raise EmulationError("the links do not come to rest: something keeps sending")
            before = after

    def qdisc_counters(self) -> list[QdiscCounters]:
        """Counters of every shaped queue so far."""
        qdiscs = self._netem_readings()
        meters = parse_meters(
            run_inside(
                self.host_pid(WIRES_NAME),
                *("tc", "-s", "-j", "actions", "show", "action", "police"),
            )
        )
        counters = []
        for link, _ in self.spec.shaped_links:
            for direction in DIRECTIONS:
                tap = self._wire(link.name).tap(direction)
                counters.append(
                    counters_of(link.name, direction, qdiscs.get(tap.egress), meters.get(tap.meter))
                )
        return counters

    def describe(self) -> NetworkRecord:
        """Describe hosts with addresses, shaped links as specified, and the cables between."""
        return describe_network(self.plan)

    def _nodes(self) -> Iterable[NamespaceNode]:
        nodes: Iterable[NamespaceNode] = self.nameToNode.values()
        return nodes

    def _wires(self) -> list[ShapedWire]:
        wires: list[ShapedWire] = self.links
        return wires

    def _wire(self, link: str) -> ShapedWire:
        spec = self.spec.link(link)
        wire = next(wire for wire in self._wires() if wire.spec == spec)
        if wire.profile is None:
            raise BadTopologyError(f"link {link!r} is a plain cable, it has no shape")
        return wire

    def _netem_readings(self) -> dict[str, NetemReading]:
        shown = run_inside(self.host_pid(WIRES_NAME), "tc", "-s", "-j", "qdisc", "show")
        return parse_qdiscs(shown)

    def _batch(self, name: str, lines: Iterable[str]) -> str:
        path = self._log_dir / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return str(path)

    def _ip_batch(self, node: str, lines: Iterable[str]) -> None:
        run_inside(self.host_pid(node), "ip", "-batch", self._batch(f"{node}.ip", lines))

    def _tc_batch(self, name: str, lines: Iterable[str]) -> None:
        run_inside(self.host_pid(WIRES_NAME), "tc", "-batch", self._batch(name, lines))
