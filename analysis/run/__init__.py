"""A run directory, read: its events, network, ledger and captures."""
