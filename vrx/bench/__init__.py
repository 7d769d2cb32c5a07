"""Measuring: whole runs, stages of large models, floors."""
