"""Processes on an emulated host: wire format, stages, models, data, Accordion's two ends."""
