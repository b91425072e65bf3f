"""Fringe layers, what may be done to them, and what the user asks for."""
