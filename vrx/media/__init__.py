"""Files to frames and back.  Uses PyAV and ffmpeg, no network and no device."""
