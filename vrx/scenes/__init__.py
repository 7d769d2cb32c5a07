"""Streaming scene detection: cuts and outdated reference frames, found while frames pass through.  Uses no network."""
