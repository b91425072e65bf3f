"""Emulated networks: link profiles, shapes, shaping, captures and the proof that they hold.

Knows Mininet, iproute2 and tcpdump; knows nothing of models.
"""
