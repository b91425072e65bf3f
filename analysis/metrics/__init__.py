"""Figures from packets and ledger: links, the split pipeline, Accordion's downloads."""
