"""Splits a model: costs of its layers, the partition, the automatic placement."""
