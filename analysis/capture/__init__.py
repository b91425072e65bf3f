"""Capture files into tables of packets."""
