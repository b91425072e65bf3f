"""Single measurements of a link: round trip, goodput, loss, line rate."""
