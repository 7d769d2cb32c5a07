"""Jobs on a Ray cluster: spans and short files go to workers, segments come back and are joined in order."""
