"""TCP connections in captures: streams, round trips, bytes in flight, delays."""
