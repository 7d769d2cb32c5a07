"""An encoder that waits: a run cannot come to its end before the test has seen what it looks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vrx.media import ffmpeg

# Of what vrx writes, the encoder gets some bytes, and the rest once the sign is there.  Nothing waits longer than the
# encoder (`$$`) and vrx (`$PPID`) live: one that is dead, though nobody has waited for it, has no program in /proc.
# A trial, by which vrx sees that an encoder works, is not held and not counted; its file is called `test`.
PROGRAM = """\
#!/bin/sh
case " $* " in *"/.test."*) exec "{ffmpeg}" "$@" ;; *" pipe:0 "*) ;; *) exec "{ffmpeg}" "$@" ;; esac
number=1
while ! mkdir "{folder}/$number" 2>/dev/null; do number=$((number + 1)); done
[ $number -gt {free} ] || exec "{ffmpeg}" "$@"
mkfifo "{folder}/$number/pipe"
exec 3<&0
{{
    head -c {size} <&3
    while [ ! -e "{sign}" ] && [ -e /proc/$$/exe ] && [ -e /proc/$PPID/exe ]; do sleep 0.02; done
    exec cat <&3
}} >"{folder}/$number/pipe" 2>/dev/null &
exec "{ffmpeg}" "$@" <"{folder}/$number/pipe" 3<&-
"""


@dataclass(frozen=True)
class HeldEncoder:
    """The program for `VRX_FFMPEG`, and the file that releases it."""

    program: Path
    sign: Path

    @property
    def env(self) -> dict[str, str]:
        """What makes vrx run it."""
        return {"VRX_FFMPEG": str(self.program)}

    def release(self) -> None:
        """Let every encoder have the rest."""
        self.sign.touch()


def hold_encoder(beside: Path, *, size: int = 0, free: int = 0, sign: Path | None = None) -> HeldEncoder:
    """An ffmpeg that gets `size` bytes of a video and waits for `sign`, but for the `free` first ones.

    It is in a new folder beside that of the test.
    """
    folder = beside.with_name(f"{beside.name}-held")
    folder.mkdir()
    held = HeldEncoder(folder / "encoder", sign or folder / "go")
    words = {"folder": folder, "size": size, "free": free, "sign": held.sign, "ffmpeg": ffmpeg.executable()}
    held.program.write_text(PROGRAM.format(**words))
    held.program.chmod(0o755)
    return held
