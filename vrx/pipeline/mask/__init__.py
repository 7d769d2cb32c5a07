"""Finding what does not belong to a picture: overlays, dust, scratches and dead pixels, and masks of it."""
