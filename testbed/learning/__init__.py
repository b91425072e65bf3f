"""``concertina train`` and ``concertina distill``: from what was asked for to files."""
