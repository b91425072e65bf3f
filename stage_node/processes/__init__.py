"""Processes on emulated hosts: their start, their configurations, the costs of computing."""
