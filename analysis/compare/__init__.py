"""Runs side by side, and whether two of them are the same."""
