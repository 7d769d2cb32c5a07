"""Stream-DiffVSR: temporal tiny autoencoder, warp, schedule, optical flow, text encoder, and diffusers' networks."""
