"""FastVR (arXiv 2609.36757): its autoencoder that decodes with the source beside it, and the tiles of its generator."""
