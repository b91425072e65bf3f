"""Figures of a split model: windows, latencies, iterations, control."""
