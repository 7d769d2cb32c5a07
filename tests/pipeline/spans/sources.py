"""Clips of many kinds and containers, with cuts where new shots begin, for runs in spans."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av

from tests.clips import ClipMaker, write_interlaced
from vrx.media.ffmpeg import FFmpegProcess

CUTS = (20, 44, 70)
FRAMES = 90
VARIABLE = [700 + 40 * n + (13 * n) % 29 for n in range(FRAMES)]


def h264(clip: ClipMaker, name: str, **more: object) -> Path:
    """Long groups of pictures with B-frames, so that spans begin between key frames."""
    options = {"bf": "3", "g": "250", "sc_threshold": "0", "crf": "20"}
    return clip(name, frames=FRAMES, cuts=CUTS, codec="libx264", time_base=Fraction(1, 1000), options=options, **more)  # type: ignore[arg-type]


def remuxed(clip: ClipMaker, name: str, *words: str, audio: bool = False) -> Path:
    """The same clip in another container or codec, by ffmpeg."""
    first = h264(clip, f"first-{name}.mkv", audio=audio)
    FFmpegProcess(["-y", "-i", str(first), *words, str(clip.folder / name)]).finish()
    return clip.folder / name


def subtitled(clip: ClipMaker, name: str) -> Path:
    """Sound, subtitles and a chapter."""
    first, texts, chapters = (
        h264(clip, "plain.mkv", audio=True),
        clip.folder / "texts.srt",
        clip.folder / "chapters.txt",
    )
    texts.write_text("1\n00:00:00,500 --> 00:00:01,500\nÜber alles\n\n2\n00:00:02,000 --> 00:00:03,000\nend\n")
    chapters.write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=2000\ntitle=one\n")
    words = ["-y", "-i", str(first), "-i", str(texts), "-i", str(chapters), "-map", "0", "-map", "1"]
    FFmpegProcess([*words, "-map_metadata", "2", "-c", "copy", str(clip.folder / name)]).finish()
    return clip.folder / name


def mislabeled(clip: ClipMaker, name: str) -> Path:
    """Every picture claims to be a key frame: seeks lead to some that need others before them."""
    first = remuxed(clip, "p.avi", "-c:v", "mpeg4", "-g", "300", "-sc_threshold", "1000000000")
    with av.open(str(first)) as source, av.open(str(clip.folder / name), "w") as box:
        stream = box.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream, packet.is_keyframe = stream, True
                packet.pts = packet.dts
                box.mux(packet)
    return clip.folder / name


def interlaced(clip: ClipMaker, name: str) -> Path:
    """Seven flagged frames, five times."""
    once = clip.folder / "once.mkv"
    write_interlaced(once, flagged=True)
    FFmpegProcess(["-y", "-stream_loop", "4", "-i", str(once), "-c", "copy", str(clip.folder / name)]).finish()
    return clip.folder / name


KINDS: dict[str, Callable[[ClipMaker], Path]] = {
    "lossless mkv": lambda clip: clip("a.mkv", frames=FRAMES, cuts=CUTS),
    "variable rate": lambda clip: clip("a.mkv", times=VARIABLE, cuts=CUTS),
    "h264 between key frames": lambda clip: h264(clip, "a.mp4"),
    "sound": lambda clip: h264(clip, "a.mp4", audio=True),
    "subtitles": lambda clip: subtitled(clip, "a.mkv"),
    "open groups": lambda clip: remuxed(
        clip, "a.mkv", "-c:v", "libx264", "-x264-params", "open-gop=1:keyint=12:bframes=3:scenecut=0"
    ),
    "transport stream": lambda clip: remuxed(clip, "a.ts", "-c", "copy"),
    "program stream": lambda clip: remuxed(clip, "a.mpg", "-c:v", "mpeg2video", "-g", "15", "-bf", "2", "-r", "25"),
    "avi": lambda clip: remuxed(clip, "a.avi", "-c:v", "mpeg4", "-g", "30"),
    "avi of h264": lambda clip: remuxed(clip, "a.avi", "-c:v", "libx264", "-bf", "3", "-g", "60"),
    "webm": lambda clip: remuxed(clip, "a.webm", "-c:v", "libvpx-vp9", "-g", "40", "-deadline", "realtime"),
    "mov": lambda clip: remuxed(clip, "a.mov", "-c:v", "libx265", "-x265-params", "keyint=30:bframes=4:log-level=0"),
    "wrong key frames": lambda clip: mislabeled(clip, "a.mp4"),
    "interlaced": lambda clip: interlaced(clip, "a.mkv"),
    "numbered pictures": lambda clip: remuxed(clip, "f_%03d.png"),
    "many cuts": lambda clip: clip("a.mkv", frames=FRAMES, cuts=range(16, FRAMES, 16)),
    "no cut": lambda clip: clip("a.mkv", frames=FRAMES),
    "one frame": lambda clip: clip("a.mkv", frames=1),
}
