"""What every part of the house knows of a line: sizes of packets on it, time to cross it."""
