"""Evidence on real data: accuracy against bytes at one cut, measured and kept in tables."""
