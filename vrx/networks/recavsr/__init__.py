"""The networks of ReCaVSR (arXiv 2609.37831)."""
