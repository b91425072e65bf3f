"""What processes of the zygote's tests do."""

import os
import signal
import sys
import threading
import time

from stage_node.errors import BadModelError


def leave(status: int | str | None) -> None:
    sys.exit(status)


def break_down() -> None:
    raise ZeroDivisionError("a bug")


def give_up() -> None:
    raise BadModelError("no such model")


def describe() -> None:
    print(threading.active_count(), "torch" in sys.modules, os.getsid(0), flush=True)
    print("oops", file=sys.stderr)


def sleep(stubborn: bool = False) -> None:
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("asleep", flush=True)
    time.sleep(60)
