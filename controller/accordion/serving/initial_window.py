"""An initial congestion window sized to a path: ``initcwnd`` on the route to each UE.

See ip-route(8). RFC 6928's ten segments leave a fast path with a long round trip idle for most
of its first round trips; a server that knows the path can fill it at once, where the receiver
offers as much (:mod:`stage_node.wire.receive_window`).
"""

import json
import subprocess
from typing import Any

from controller.errors import ControllerError


class InitialWindowError(ControllerError):
    """The kernel refuses to change the route; it needs the rights of the network's root."""


def open_window(ue: str, segments: int) -> None:
    """Let every further connection to the address ``ue`` begin with a window of ``segments``."""
    shown = _ip("-j", "route", "get", ue)
    _ip(*route_arguments(json.loads(shown)[0], segments))


def route_arguments(route: dict[str, Any], segments: int) -> list[str]:
    """``ip``'s arguments: the route as ``ip -j route get`` shows it, with another window."""
    arguments = ["route", "replace", f"{route['dst']}/32"]
    if "gateway" in route:
        arguments += ["via", route["gateway"]]
    arguments += ["dev", route["dev"]]
    if "prefsrc" in route:
        arguments += ["src", route["prefsrc"]]
    return [*arguments, "initcwnd", str(segments)]


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InitialWindowError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
