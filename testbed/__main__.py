"""``python -m testbed``: the program behind the ``concertina`` launcher."""

from testbed.cli import main

main()
