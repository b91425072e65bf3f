"""Where a model is cut: what its layers take, the partition, the automatic placement."""
