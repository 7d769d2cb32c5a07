"""Resuming an interrupted run: journal, finished segments, stream state, fingerprint."""
