"""``concertina sweep``: one experiment under many values, cell by cell."""
