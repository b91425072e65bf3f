"""Training of networks whose every configuration is to run."""
