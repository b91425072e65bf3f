"""Devices that hosts stand for: how fast they compute, by catalogue, by measurement, by value."""
