"""Bottlenecks at a cut, trained by knowledge distillation."""
