"""Settings of an interface: offloads and operational state, over ioctl(2).

Segmentation and receive offloads merge packets into larger ones before a capture or a queue sees
them, so they are switched off everywhere and read back: a kernel that keeps one on is an error.
"""

import array
import fcntl
import socket
import struct
import time
from collections.abc import Sequence

from topologies.errors import EmulationError
from topologies.machine.namespaces import inside

# linux/sockios.h, linux/ethtool.h, linux/if.h
SIOCGIFFLAGS = 0x8913
SIOCETHTOOL = 0x8946
IFF_RUNNING = 0x40
# name -> (get, set); switched off in this order: the later ones need the earlier ones on.
OFFLOADS = {
    "generic receive offload": (0x2B, 0x2C),
    "generic segmentation offload": (0x23, 0x24),
    "TCP segmentation offload": (0x1E, 0x1F),
    "scatter-gather": (0x18, 0x19),
    "transmit checksumming": (0x16, 0x17),
    "receive checksumming": (0x14, 0x15),
}


def prepare_interfaces(pid: int, names: Sequence[str], timeout_s: float = 5) -> None:
    """Switch the offloads of these interfaces off and wait until they carry packets.

    ``pid`` names the network namespace. Raises ``EmulationError`` where an offload stays on or an
    interface does not come up in time.
    """
    with inside(pid):
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with control:
        for name in names:
            _switch_offloads_off(control, name)
        deadline = time.monotonic() + timeout_s
        for name in names:
            while not _is_running(control, name):
                if time.monotonic() > deadline:
                    raise EmulationError(f"{name} did not come up within {timeout_s:g} s")
                time.sleep(0.005)


def _switch_offloads_off(control: socket.socket, name: str) -> None:
    for get, set_ in OFFLOADS.values():
        if _ethtool(control, name, get):
            _ethtool(control, name, set_, 0)
    kept = [offload for offload, (get, _) in OFFLOADS.items() if _ethtool(control, name, get)]
    if kept:
        raise EmulationError(f"{name}: the kernel keeps {', '.join(kept)} on")


def _ethtool(control: socket.socket, name: str, command: int, value: int = 0) -> int:
    """One ``struct ethtool_value`` request; the value the kernel leaves in it."""
    request = array.array("I", [command, value])
    address, _ = request.buffer_info()
    try:
        fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sP16x", name.encode(), address))
    except OSError as error:
        raise EmulationError(f"{name}: ethtool request {command:#x}: {error.strerror}") from error
    return request[1]


def _is_running(control: socket.socket, name: str) -> bool:
    answer = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16s24x", name.encode()))
    (flags,) = struct.unpack_from("16xH", answer)
    return bool(flags & IFF_RUNNING)
