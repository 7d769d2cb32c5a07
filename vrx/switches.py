"""How vrx works on a GPU: what is on unless a variable of the environment switches it off, to compare or to debug."""

from __future__ import annotations

from dataclasses import dataclass, fields

from vrx.environment import SWITCH_WORDS, read_word

KERNELS = ("auto", "cudnn", "flash", "efficient", "math", "torch")  # words of `VRX_ATTENTION`


@dataclass(frozen=True)
class Switches:
    """What is on.

    `attention`: the kernel that attention tries first, `auto` the one that suits the card, `torch` what torch does by
    itself; the only one that changes numbers, in their last digits.  `streams`: every stage has a stream of its own.
    `graphs`: the embedded model's steps are recorded once and replayed.  `flow`: optical flow is searched while other
    stages work.  `segments`: torch's memory grows in pieces that can be joined.  `nvdec`, off unless it is switched
    on: the GPU decodes video.
    """

    attention: str = "auto"
    streams: bool = True
    graphs: bool = True
    flow: bool = True
    segments: bool = True
    nvdec: bool = False

    @classmethod
    def read(cls) -> Switches:
        """From `VRX_ATTENTION`, and `VRX_STREAMS` and so on, which are on or off.  Raises UsageError."""
        kernels = {name: name for name in KERNELS}
        attention = read_word("VRX_ATTENTION", "auto", kernels, f"one of {', '.join(KERNELS)}")
        found = {
            field.name: read_word(
                f"VRX_{field.name.upper()}", "on" if field.default else "off", SWITCH_WORDS, "on or off"
            )
            for field in fields(cls)
            if field.name != "attention"
        }
        return cls(attention, **found)
