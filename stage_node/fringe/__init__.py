"""The split model on its hosts: stages, cuts with their halves, and how they are asked."""
