"""Small videos made for tests, and what is read back from results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from vrx.media.ffmpeg import FFmpegProcess

INTERLACED_SIZE = (96, 64)
TIMES = [0, 40, 80, 200, 240, 280, 410]  # a gap, too
SPEED = 8  # pixels from frame to frame
BLACK, LEVEL = 40, 4  # gray of a counted clip's frame 0, and from frame to frame
LOUD = 1e-3  # of full scale


def scenery(number: int, size: tuple[int, int], shot: int = 0) -> np.ndarray:
    """A picture [H, W, 3] uint8 of a shot: soft blobs that drift slowly, other colors in each shot."""
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x = x + 1.5 * number
    period = (23 + 9 * shot, 17 + 5 * shot)
    waves = np.sin(x / period[0]) * np.cos(y / period[1])
    channels = [128 + 100 * np.roll(np.array([1, 0.2, -0.6]), shot)[c] * waves for c in range(3)]
    picture = np.stack(channels, -1) + 60 * ((shot % 2) * 2 - 1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def add_video(
    box: OutputContainer, codec: str, rate: int, size: tuple[int, int], pix_fmt: str, options: dict[str, str]
) -> VideoStream:
    """A video stream of a size (width, height) in a file that is written."""
    stream = box.add_stream(codec, rate=rate, options=options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
    return stream


def add_audio(box: OutputContainer, codec: str, rate: int) -> AudioStream:
    """An audio stream in a file that is written."""
    stream = box.add_stream(codec, rate=rate)
    assert isinstance(stream, AudioStream)
    return stream


@dataclass
class ClipMaker:
    """Writes clips into a folder, of a size unless another one is named."""

    folder: Path
    size: tuple[int, int] = (64, 48)

    def __call__(
        self,
        name: str = "clip.mkv",
        *,
        frames: int = 12,
        size: tuple[int, int] | None = None,
        codec: str = "ffv1",
        pix_fmt: str = "yuv420p",
        times: Sequence[int] | None = None,
        time_base: Fraction = Fraction(1, 1000),
        cuts: Sequence[int] = (),
        audio: bool = False,
        options: dict[str, str] | None = None,
    ) -> Path:
        """A clip of drifting blobs; `times` in ticks of `time_base`; a new shot begins at every cut."""
        path, size = self.folder / name, size or self.size
        times = [40 * i for i in range(frames)] if times is None else times
        with av.open(str(path), "w") as box:
            video = add_video(box, codec, 25, size, pix_fmt, options or {})
            video.time_base = video.codec_context.time_base = time_base
            sound = add_audio(box, "flac" if path.suffix == ".mkv" else "aac", 16000) if audio else None
            shot = 0
            for number, time in enumerate(times):
                shot += number in cuts
                picture = av.VideoFrame.from_ndarray(scenery(number, size, shot), format="rgb24")
                picture = picture.reformat(format=pix_fmt)
                picture.pts, picture.time_base = time, time_base
                box.mux(video.encode(picture))
            box.mux(video.encode(None))
            if sound is not None:
                count = int(float((times[-1] + 40) * time_base) * 16000)
                for start in range(0, count, 1024):
                    wave = np.sin(np.arange(start, min(count, start + 1024)) / 8) * 8000
                    chunk = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
                    chunk.sample_rate, chunk.pts = 16000, start
                    box.mux(sound.encode(chunk))
                box.mux(sound.encode(None))
        return path


def write_sounding(path: Path, video: str, audio: str) -> Path:
    """Three frames with a sound in codecs of old players and discs."""
    with av.open(str(path), "w") as box:
        picture = add_video(box, video, 25, (64, 48), "yuv420p", {})
        sound = add_audio(box, audio, 44100)
        sound.bit_rate = 128_000  # WMA begins with none
        sound.layout = "mono"
        for number in range(3):
            box.mux(picture.encode(av.VideoFrame.from_ndarray(scenery(number, (64, 48)), format="rgb24")))
        box.mux(picture.encode(None))
        wave = np.sin(np.arange(6000) / 8) * 8000
        chunk = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
        chunk.sample_rate, chunk.pts = 44100, 0
        box.mux(sound.encode(chunk))
        box.mux(sound.encode(None))
    return path


def stripes(time: float) -> np.ndarray:
    """Upright bars on their way to the left, [H, W, 3]; `time` in frames."""
    x = np.arange(INTERLACED_SIZE[0]) + SPEED * time
    row = 128 + 90 * np.sin(x * 2 * np.pi / 32)
    return np.repeat(np.repeat(row[None, :, None], INTERLACED_SIZE[1], 0), 3, 2).astype(np.uint8)


def write_interlaced(path: Path, flagged: bool) -> None:
    """Bottom field first: the even rows come from half a frame later."""
    options = {"crf": "6", "bf": "0"} | ({"flags": "+ildct+ilme"} if flagged else {})
    with av.open(str(path), "w") as box:
        video = box.add_stream("libx264", rate=25, options=options)
        video.width, video.height, video.pix_fmt = *INTERLACED_SIZE, "yuv444p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(TIMES):
            picture = stripes(number)
            picture[::2] = stripes(number + 0.5)[::2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            box.mux(video.encode(frame))
        box.mux(video.encode(None))


def write_counted(
    path: Path, first: int = 0, frames: int = 12, *, rate: int = 12, tone: int = 500, words: str = ""
) -> Path:
    """A clip whose gray level tells each frame's number, from `first` on, and whose tone tells the clip.

    `words` are further ones for ffmpeg; codecs are those that it takes for the container unless they name others.
    """
    seconds = frames / rate
    picture = (
        f"color=black:size=64x48:rate={rate}:duration={seconds},geq=lum='{BLACK}+{LEVEL}*({first}+N)':cb=128:cr=128"
    )
    sound = f"sine={tone}:duration={seconds}:sample_rate=48000"
    begin = ["-y", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-pix_fmt", "yuv420p", "-qscale:v", "2"]
    FFmpegProcess([*begin, *words.split(), str(path)]).finish()
    return path


def joined(path: Path, *parts: Path) -> Path:
    """Files one after the other, as `cat` joins them."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def number_of(luma: np.ndarray) -> int:
    """The number of a frame of a counted clip."""
    return round((float(luma.mean()) - BLACK) / LEVEL)


def tones(path: Path) -> list[tuple[int, float, float]]:
    """The tones of a file's first sound, to 100 Hz, with the seconds at which each begins and ends."""
    found: list[tuple[int, float, float]] = []
    with av.open(str(path)) as box:
        for frame in box.decode(audio=0):
            samples = frame.to_ndarray().astype(float)
            wave = samples[0] if frame.format.is_planar else samples[0][:: frame.layout.nb_channels]
            spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
            tone = round(int(spectrum.argmax()) * frame.sample_rate / len(wave) / 100) * 100
            assert frame.time is not None
            begin, end = frame.time, frame.time + frame.samples / frame.sample_rate
            if found and found[-1][0] == tone:
                found[-1] = (tone, found[-1][1], end)
            elif spectrum.max() > len(wave) * LOUD:
                found.append((tone, begin, end))
    return found


@dataclass(frozen=True)
class Read:
    """A result, read back: RGB frames [T, H, W, 3], times in seconds, and stream facts."""

    frames: np.ndarray
    times: list[Fraction]
    pix_fmt: str
    kinds: list[str]
    duration: float


def time_of(frame: av.VideoFrame) -> Fraction:
    """When a frame is shown."""
    assert frame.pts is not None
    assert frame.time_base is not None
    return frame.pts * frame.time_base


def read(path: Path) -> Read:
    """Decode all of a file."""
    with av.open(str(path)) as box:
        stream = box.streams.video[0]
        pictures = list(box.decode(stream))
        return Read(
            np.stack([p.to_ndarray(format="rgb24") for p in pictures]),
            [time_of(p) for p in pictures],
            pictures[0].format.name,
            [s.type for s in box.streams],
            float(box.duration or 0) / av.time_base,
        )


def turned_clip(
    path: Path,
    turns: int,
    mirrored: bool,
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (48, 32),
    pixels: np.ndarray | None = None,
) -> Path:
    """Two frames of a bright patch at the stored top left, with a display matrix that asks to turn and mirror them."""
    with av.open(str(path), "w") as box:
        video = box.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        video.set_display_rotation(90 * turns, hflip=mirrored)
        for number in range(2):
            picture = scenery(number, size) if pixels is None else pixels
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            box.mux(video.encode(frame))
        box.mux(video.encode(None))
    return path


def save_picture(path: Path, pixels: np.ndarray, pix_fmt: str = "gray", codec: str = "png") -> Path:
    """Pixels [H, W], [H, W, 3] or [H, W, 4], uint8 or uint16, as one picture."""
    deep = {np.dtype(np.uint8): ("gray", "rgb24", "rgba"), np.dtype(np.uint16): ("gray16le", "rgb48le", "rgba64le")}
    form = deep[pixels.dtype][0 if pixels.ndim == 2 else pixels.shape[2] - 2]
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as box:
        stream = add_video(box, codec, 1, (pixels.shape[1], pixels.shape[0]), pix_fmt, {})
        frame = av.VideoFrame.from_ndarray(pixels, format=form)
        box.mux([*stream.encode(frame if form == pix_fmt else frame.reformat(format=pix_fmt)), *stream.encode(None)])
    return path
