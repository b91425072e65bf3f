"""The guest's kernel with a clock of its own: built from the distribution's source, or brought."""
