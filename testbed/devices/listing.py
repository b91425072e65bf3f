"""The device catalogue as a person reads it."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from controller.split.compute_table import ComputeTable
from testbed.devices.profiles import DeviceProfile, device_catalogue, load_devices

AMPLE_WIDTH = 160
CONVENTION = (
    "speed: relative to the core on which tables are measured, taken to be server-core; measured: "
    "the device has times of its own. `concertina devices NAME` shows one in full"
)


def show_devices(reference: str | None, console: Console) -> None:
    """Print the catalogue, a file's devices, or one device in full.

    Raises BadTopologyError for an unknown name and a file that cannot be read.
    """
    if not console.is_terminal:
        console.width = AMPLE_WIDTH
    devices = load_devices(reference) if reference else tuple(device_catalogue().values())
    one = reference is not None and len(devices) == 1
    console.print(device_details(devices[0]) if one else device_table(devices))


def device_table(devices: Sequence[DeviceProfile]) -> Table:
    """A row each: speed, memory, source."""
    table = Table(title="Devices", title_justify="left", caption=CONVENTION, caption_justify="left")
    table.add_column("device", no_wrap=True)
    table.add_column("speed", justify="right", no_wrap=True)
    table.add_column("MiB", justify="right", no_wrap=True)
    table.add_column("source", overflow="fold")
    for device in devices:
        table.add_row(device.name, speed_of(device), _memory(device), Text(device.source))
    return table


def device_details(device: DeviceProfile) -> RenderableType:
    """One device in full, with the tables that it has of its own."""
    lines = [
        f"{device.name}: speed {speed_of(device)}, memory {_memory(device)} MiB",
        f"source: {device.source}",
    ]
    return Group(
        Text("\n".join(lines), overflow="fold"), *(_own_table(table) for table in device.tables)
    )


def speed_of(device: DeviceProfile) -> str:
    """The speed in words."""
    return "measured" if device.speed is None else f"{device.speed:g}"


def _memory(device: DeviceProfile) -> str:
    return "-" if device.memory_mib is None else f"{device.memory_mib:,}"


def _own_table(table: ComputeTable) -> Table:
    """Milliseconds of every layer, by images at once."""
    shown = Table(title=f"{table.model} (ms)", title_justify="left")
    shown.add_column("layer", no_wrap=True)
    for column in table.columns:
        shown.add_column(f"{column.images} at once", justify="right", no_wrap=True)
    for name in table.columns[0].layer_ms:
        shown.add_row(name, *(f"{column.layer_ms[name]:.3f}" for column in table.columns))
    shown.add_row("together", *(f"{table.total_ms(each.images):.3f}" for each in table.columns))
    return shown
