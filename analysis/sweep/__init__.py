"""The runs of a sweep in one table, with confidence intervals and plots."""
