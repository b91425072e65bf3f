"""Contents of a connection: frames, their codecs and rungs, and the channel that carries them."""
