"""Which parts make a restoring system, and how they are stepped."""
