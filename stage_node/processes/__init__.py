"""How processes come onto emulated hosts, what they are told, and what their computing costs."""
