"""The network of InstaVSR: a pruned one-step UNet and its decoder over five aligned frames."""
