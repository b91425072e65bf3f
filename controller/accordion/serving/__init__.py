"""The model server's decisions: admission, streaming, what it knows of a UE's link."""
