"""The experiment file: its sections and how it is read."""
