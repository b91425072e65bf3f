"""Runs commands on the native host, one of them until its runner is killed; reports what is left.

To be run as root where the native host can work, and beside nothing else that sleeps.
"""

import os
import signal
import time
from pathlib import Path

from testbed.hosts.choose import ChosenHost, HostWish, choose_host
from testbed.kernel.guest_kernel import GuestKernel
from tests.e2e.programs.facts import report
from tests.e2e.programs.machine import interfaces, running

MAKE = "ip link add name v0 type veth && ip netns add other && touch made && exit 7"
SAVE = "trap 'touch saved; exit 0' TERM; touch begun; while :; do sleep 0.05; done"
LEAVE = "(setsid sleep 600 &); sleep 600 & touch up; wait"


def main() -> None:
    choice = choose_host(HostWish("auto", "real"), no_kernel)
    before = interfaces()
    statuses = [
        run_in_place(choice, MAKE),
        run_in_place(choice, "kill -9 $$"),
        run_in_place(choice, 'exit "$WANTED"', {"WANTED": "3"}),
    ]
    was_alive = killed_runner(choice)
    netns = Path("/run/netns")
    report(
        kind=choice.kind,
        statuses=statuses,
        made=Path("made").exists(),
        new_interfaces=sorted(interfaces() - before),
        netns=[each.name for each in netns.iterdir()] if netns.is_dir() else [],
        saved=interrupted(choice),
        was_alive=was_alive,
        is_alive=running("sleep"),
    )


def no_kernel() -> GuestKernel:
    raise AssertionError("the real clock needs no kernel of ours")


def run_in_place(choice: ChosenHost, script: str, env: dict[str, str] | None = None) -> int:
    return choice.host.run(["sh", "-c", script], writable=Path.cwd(), env=env)


def interrupted(choice: ChosenHost) -> bool:
    """Return True if a command whose runner is interrupted has the time to save what it has."""
    runner = os.fork()
    if runner == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            run_in_place(choice, SAVE)
        finally:
            os._exit(0)
    while not Path("begun").exists():
        time.sleep(0.05)
    os.kill(runner, signal.SIGINT)
    os.waitpid(runner, 0)
    return Path("saved").exists()


def killed_runner(choice: ChosenHost) -> int:
    """Kill the runner of a command that started two sleepers, and wait for those to end.

    The number of sleepers before that.
    """
    runner = os.fork()
    if runner == 0:
        run_in_place(choice, LEAVE)
    while not Path("up").exists():
        time.sleep(0.05)
    alive = running("sleep")
    os.kill(runner, signal.SIGKILL)
    os.waitpid(runner, 0)
    deadline = time.monotonic() + 5
    while running("sleep") and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


if __name__ == "__main__":
    main()
