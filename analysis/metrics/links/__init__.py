"""Figures of links: throughput, pace, sharing."""
