"""The embedded model: all three tasks, inside the package, for processors too.  Start at `model`."""
