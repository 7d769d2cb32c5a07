"""DPX pictures: samples and headers are kept."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from tests.conftest import Command
from tests.pipeline.jobs import make_job, open_session
from vrx import events
from vrx.media.dpx import DpxMetadata, embed_dpx_metadata, read_dpx_metadata

SIZE = (48, 32)
LOGARITHMIC = b"\3\1"
BOX = (4, 4, 20, 20)


def write_dpx(path: Path, pix_fmt: str, seed: int = 0) -> None:
    noise = np.random.default_rng(seed).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as box:
        stream = box.add_stream("dpx", rate=24)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE, pix_fmt
        box.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=pix_fmt)))
        box.mux(stream.encode(None))


def industry(number: int) -> bytes:
    """What film and television say of a frame: its place, and a time code."""
    data = bytearray(b"\xff" * 384)
    data[:2] = b"KO"
    struct.pack_into(">I", data, 1712 - 1664, 1000 + number)
    struct.pack_into(">I", data, 1920 - 1664, 0x01000000 + number)
    return bytes(data)


def decode(path: Path) -> tuple[str, np.ndarray]:
    with av.open(str(path)) as box:
        frame = next(box.decode(video=0))
    assert isinstance(frame, av.VideoFrame)
    return frame.format.name, frame.to_ndarray(format="gbrp16le")


@pytest.mark.parametrize("pix_fmt", ["rgb24", "gbrp10le", "gbrp12be", "rgb48be"])
def test_samples_and_headers_are_kept(tmp_path: Path, vrx: Command, pix_fmt: str) -> None:
    for number in (1, 2):
        path = tmp_path / f"f_{number:04d}.dpx"
        write_dpx(path, pix_fmt, number)
        embed_dpx_metadata(path, DpxMetadata(LOGARITHMIC, industry(number)))
    box = ",".join(map(str, BOX))
    assert vrx("inpaint", tmp_path, "--sequence", "--box", box, "--dilate", "0", "--device", "cpu").returncode == 0
    for number in (1, 2):
        source, result = tmp_path / f"f_{number:04d}.dpx", tmp_path / f"f_{number:04d}.inpaint.dpx"
        assert read_dpx_metadata(result) == DpxMetadata(LOGARITHMIC, industry(number))
        (form, before), (same, after) = decode(source), decode(result)
        assert form.removesuffix("be").removesuffix("le") == same.removesuffix("be").removesuffix("le")
        known = np.ones(SIZE[::-1], bool)
        known[BOX[1] : BOX[1] + BOX[3], BOX[0] : BOX[0] + BOX[2]] = False
        assert np.array_equal(before[known], after[known])
        assert not np.array_equal(before, after)


@pytest.mark.parametrize("pix_fmt", ["rgb48le", "rgb48be"])
def test_a_header_says_where_its_parts_are_in_the_file_s_byte_order(tmp_path: Path, pix_fmt: str) -> None:
    path, data = tmp_path / "f.dpx", bytearray(industry(1))
    write_dpx(path, pix_fmt)
    struct.pack_into(">f", data, 1968 - 1664, 0.5)  # the last of television: integration times
    embed_dpx_metadata(path, DpxMetadata(LOGARITHMIC, bytes(data)))
    head = path.read_bytes()
    order = {b"SDPX": ">", b"XPDS": "<"}[head[:4]]
    sizes = [struct.unpack_from(order + "I", head, place)[0] for place in (4, 16, 24, 28, 808)]
    assert sizes == [2048, path.stat().st_size, 1664, 384, 2048]  # pixels, file, generic, industry, first element
    assert struct.unpack_from(order + "f", head, 1968)[0] == 0.5


def test_a_header_that_states_nothing_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "f.dpx"
    write_dpx(path, "gbrp10le")
    found, before = read_dpx_metadata(path), path.read_bytes()
    assert found is not None
    assert found.industry == b""  # the pixels begin where it would be
    embed_dpx_metadata(path, DpxMetadata(b"\xff\0", b""))
    assert path.read_bytes() == before
    other = tmp_path / "f.png"
    other.write_bytes(b"\x89PNG" + bytes(3000))
    assert read_dpx_metadata(other) is None


def test_what_other_pictures_cannot_hold_is_said(tmp_path: Path) -> None:
    path, heard = tmp_path / "f.dpx", list[events.Event]()
    write_dpx(path, "rgb48be")
    embed_dpx_metadata(path, DpxMetadata(LOGARITHMIC, industry(1)))
    for suffix, said in ((".png", True), (".dpx", False)):
        heard.clear()
        with open_session(make_job(path, tmp_path / f"r{suffix}"), heard):
            texts = [event.text for event in heard if isinstance(event, events.Noted)]
        assert any("time code and film data" in text for text in texts) == said
