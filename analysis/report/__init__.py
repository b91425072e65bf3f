"""The page a person opens, and its sentences."""
