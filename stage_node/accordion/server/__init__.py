"""The model server: checkpoints over HTTP/1.1."""
