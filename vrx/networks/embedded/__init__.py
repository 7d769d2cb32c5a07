"""The embedded model's networks, its classical estimates, and its blur and degradation estimators."""
