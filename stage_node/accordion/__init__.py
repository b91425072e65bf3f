"""Accordion on its hosts: prefixes of a model, the protocol, the model server and the UE."""
