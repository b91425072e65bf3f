"""Accordion: training, sampling, look-up table, admission."""
