"""Benchmarks: end to end, stage by stage, and what the hardware allows."""
