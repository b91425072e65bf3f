"""What work costs is counted from when the meter is made."""

import time

from controller.ladder.work_cost import Meter


def test_waiting_takes_time_and_no_processor_and_computing_takes_both() -> None:
    waited = Meter()
    time.sleep(0.2)
    rest = waited.cost()
    assert rest.duration_s >= 0.2
    assert rest.cpu_s < 0.1

    worked = Meter()
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    work = worked.cost()
    assert 0.1 <= work.cpu_s <= work.duration_s + 0.05
    assert work.peak_memory_mib >= 10


def test_the_peak_is_of_the_whole_process() -> None:
    before = Meter().cost().peak_memory_mib
    block = bytearray(64 << 20)
    block[:: 1 << 12] = b"x" * len(block[:: 1 << 12])
    held = Meter().cost().peak_memory_mib
    del block
    assert held >= before
    assert Meter().cost().peak_memory_mib >= held
