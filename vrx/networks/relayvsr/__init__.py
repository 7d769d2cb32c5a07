"""The networks of RelayVSR (arXiv 2609.37850)."""
