"""Quick answers from the captures of a run."""
