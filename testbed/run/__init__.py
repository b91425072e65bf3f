"""A run, from its directory to its report."""
