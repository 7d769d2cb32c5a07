"""FlashVSR's own networks around Wan's transformer (arXiv 2510.12747)."""
