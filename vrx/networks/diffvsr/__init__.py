"""Stream-DiffVSR: its temporal tiny autoencoder and warp, and networks of other libraries."""
