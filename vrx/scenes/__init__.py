"""Streaming scene detection: cuts and outdated reference frames, found while frames pass through.  Knows no network."""
