"""Ladders of rungs: what each mechanism does to a cut, measured on real activations."""
