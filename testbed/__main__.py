"""``python -m testbed``: the program behind the ``concertina`` launcher."""

import signal

# Ctrl-C ends the process as it ends any, without a traceback, wherever it is: importing torch in
# the middle of an exception aborts. What has something to tidy up listens for itself
# (testbed.interruption).
signal.signal(signal.SIGINT, signal.SIG_DFL)

from testbed.commands.cli import main  # noqa: E402

main()
