"""Asks to be woken again and again, at real-time priority, and reports every time it was late.

The idea is cyclictest(8)'s: no process under the same kernel outranks this one. What let it wait
was outside that kernel, or a stretch inside it that nothing interrupts, and let all else wait as
well. Standard library only, started by path: ``python -I -S waker.py PERIOD_MS LEAST_MS``. Its
standard output has a line per wake that was at least ``LEAST_MS`` late: when it was due (monotonic
ns), and how late it was (ns). The first line says ``ready``.
"""

import gc
import os
import sys
import time

PRIORITY = 90


def main() -> None:
    """Wake, look at the clock, sleep; until killed."""
    period_ns, least_ns = (round(float(each) * 1e6) for each in sys.argv[1:3])
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    gc.disable()
    os.write(1, b"ready\n")
    while True:
        due_ns = time.monotonic_ns() + period_ns
        time.sleep(period_ns / 1e9)
        late_ns = time.monotonic_ns() - due_ns
        if late_ns >= least_ns:
            os.write(1, b"%d %d\n" % (due_ns, late_ns))


main()
