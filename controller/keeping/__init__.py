"""Results that take long to measure, kept under the hash of all that they depend on."""
