"""Measures of pictures and of motion: pure functions of tensors."""
