"""Does a link hold what it claims? Measurements, tolerances, verdicts."""
