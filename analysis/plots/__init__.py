"""The plots: each function takes tables and returns a figure; ``style`` makes them one family."""
