"""Models: what a user names with --model.  Start at `base`, then `family`."""
