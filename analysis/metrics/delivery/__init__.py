"""Figures of Accordion's downloads."""
