"""A network that runs: Mininet, shaped links, changes, captures. Needs root."""
