"""Training of networks of which every configuration is to run."""
