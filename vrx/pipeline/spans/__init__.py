"""Spans: parts of a job that begin with a scene, so that they can be restored apart from each other and be joined."""
