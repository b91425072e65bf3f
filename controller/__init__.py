"""Decides how a model is split, compressed and delivered.

Partitioning, fringe layers, cuts and the compression loop; Accordion's training and admission.
"""
