"""What a network is before it exists: pure, needs no root."""
