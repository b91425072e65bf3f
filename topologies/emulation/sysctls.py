"""Kernel settings of an emulated host's own network namespace; nothing of the machine's."""

from collections.abc import Mapping
from pathlib import Path

from stage_node.records.line.transfer_time import bytes_per_ms
from stage_node.records.vocabulary import DIRECTIONS
from topologies.errors import EmulationError
from topologies.machine.namespaces import inside
from topologies.networks.addressing import Plan
from topologies.networks.receive_buffer import receive_buffer_bytes
from topologies.networks.shaping import shape_of

PROC_SYS_NET = Path("/proc/sys/net")
LINUX_TCP_BUFFER, LINUX_TCP_BUFFER_MAX = 128 << 10, 6 << 20  # the kernel's own tcp_rmem
LARGEST_TCP_BUFFER = 1 << 30  # TCP's largest window; the kernel refuses twice as much


def host_sysctls(plan: Plan) -> dict[str, str]:
    """Setting below ``net/`` -> value, the same for every node.

    Hosts forward (those in the middle of a chain have to), keep no metrics of past connections
    (the probe would otherwise set the slow start of what follows), speak no IPv6 (its neighbour
    discovery would be on the wires and in the captures) and may buffer what the network's longest
    path holds. That is the size of receive buffers from the beginning, as phones set theirs by the
    kind of access (Android's ``net.tcp.buffersize``): the kernel's own would leave a fast path idle
    until it has tuned them, some round trips into a transfer.
    """
    path = min(path_buffer_bytes(plan), LARGEST_TCP_BUFFER)
    begin, most = max(path, LINUX_TCP_BUFFER), max(path, LINUX_TCP_BUFFER_MAX)
    return {
        "ipv4/ip_forward": "1",
        "ipv4/conf/all/rp_filter": "0",
        "ipv4/conf/default/rp_filter": "0",
        "ipv4/conf/all/send_redirects": "0",
        "ipv4/conf/default/send_redirects": "0",
        "ipv4/tcp_no_metrics_save": "1",
        "ipv4/tcp_rmem": f"4096 {begin} {most}",
        "ipv4/tcp_wmem": f"4096 16384 {most}",
        "ipv6/conf/all/disable_ipv6": "1",
        "ipv6/conf/default/disable_ipv6": "1",
    }


def path_buffer_bytes(plan: Plan) -> int:
    """Find the buffer, in bytes, whose window is twice what the path over all links can hold."""
    profiles = [profile for _, profile in plan.spec.shaped_links]
    fastest = max((d.rate_mbit for p in profiles for d in (p.down, p.up)), default=0.0)
    rtt_ms = sum(profile.rtt_ms for profile in profiles)
    queues = sum(
        shape_of(profile, direction).buffer_bytes
        for profile in profiles
        for direction in DIRECTIONS
    )
    return receive_buffer_bytes(round(2 * (bytes_per_ms(fastest) * rtt_ms + queues)))


def write_sysctls(pid: int, settings: Mapping[str, str]) -> None:
    """Set them in the network namespace of ``pid``; a setting that is refused is an error."""
    with inside(pid):
        for name, value in settings.items():
            path = PROC_SYS_NET / name
            if name.startswith("ipv6/") and not path.exists():
                continue  # a kernel without IPv6 speaks none
            try:
                path.write_text(value)
            except OSError as error:
                raise EmulationError(f"cannot set {path}: {error.strerror}") from error
