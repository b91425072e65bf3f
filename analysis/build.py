"""From a run directory to its summary, plots and report."""
