"""Networks before they exist: pure, needs no root."""
