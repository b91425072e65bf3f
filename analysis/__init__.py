"""Reads a run directory and nothing else: captures, ledger, metrics, plots, report."""
