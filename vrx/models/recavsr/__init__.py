"""ReCaVSR: its blocks, its decoders, and how it is loaded."""
