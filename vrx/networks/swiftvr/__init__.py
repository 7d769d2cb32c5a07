"""SwiftVR (arXiv 2606.09516): its autoencoder, and Wan 2.2 with attention in windows."""
