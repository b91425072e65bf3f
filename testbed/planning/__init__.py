"""Plans a run: all is decided and checked before anything starts."""
