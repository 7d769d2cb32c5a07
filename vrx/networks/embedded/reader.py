"""Small networks that read many numbers and give few: kinds of damage, and how strong they are."""

from torch import nn


def build_reader(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    """A network of two hidden layers; `dropout` is the share of their values that training leaves out."""
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, outputs),
    )
