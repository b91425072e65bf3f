"""Assembles an experiment and runs it: CLI, experiment files, hosts, run directory."""
