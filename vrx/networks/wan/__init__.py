"""The Wan 2.1 family: diffusion transformer, video autoencoder, flow schedule."""
