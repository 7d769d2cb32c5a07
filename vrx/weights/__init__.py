"""From a model's name to verified tensors."""
