"""``python -m testbed``: the program behind the ``concertina`` launcher."""

from testbed.commands.cli import main

main()
