"""Files to frames and back.  Knows PyAV and ffmpeg; knows no network and no device."""
