"""The places of cells: Dask workers of this machine, or of a cluster that is there already.

See https://distributed.dask.org. Locally every worker is a process with one thread, and there are
as many as cells may run at once.
"""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client, LocalCluster, WorkerPlugin

from testbed.errors import HostUnavailableError

CONNECT_S = 10.0
SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # a cell whose worker died has failed
    "distributed.scheduler.active-memory-manager.start": False,
    # Workers share the CPUs of the cells: they are not to look at themselves all the time.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "30s",
}


class IgnoreInterrupts(WorkerPlugin):
    """Ctrl-C in a terminal reaches every process there; the workers leave it to the sweep."""

    def setup(self, worker: Any) -> None:
        """On every worker, in its main thread, before it is given a cell."""
        del worker
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def connected(address: str | None, jobs: int) -> Iterator[Client]:
    """A client of the cluster at ``address``, or of ``jobs`` new workers on this machine.

    Raises HostUnavailableError where no scheduler answers.
    """
    if address is not None:
        with _client(address) as client:
            yield client
        return
    with (
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(IgnoreInterrupts())
        yield client


def _client(address: str) -> Client:
    try:
        return Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise HostUnavailableError(f"--dask {address}: no scheduler answers: {error}") from error
