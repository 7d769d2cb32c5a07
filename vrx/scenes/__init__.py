"""Where scenes begin, found while frames stream by.  Knows frames; knows no network."""
