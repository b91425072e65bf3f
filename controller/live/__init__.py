"""A pipeline that runs, as the controller sees and switches it."""
