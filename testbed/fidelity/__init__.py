"""``concertina fidelity``: every profile held against independent tools."""
