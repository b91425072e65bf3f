"""The two places where an emulation can run: in place as root, or in a microVM without root."""
