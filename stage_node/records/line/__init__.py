"""Facts of a line for every package: sizes of packets on it, time to cross it."""
