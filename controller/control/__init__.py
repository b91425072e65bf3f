"""Automatic control: rungs follow the network (US 2025/0265465 A1, claims 9 and 10)."""
