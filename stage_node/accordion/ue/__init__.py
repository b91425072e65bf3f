"""The user equipment: fetches prefixes of a model and runs what has arrived."""
