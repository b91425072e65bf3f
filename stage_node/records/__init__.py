"""Every file of a run: its name, its model, its version. No torch, so that topologies may enter."""
