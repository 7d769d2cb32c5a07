from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vrx.media.frame import Color, Frame, Kind, Layout
from vrx.pipeline.colorspace import Conversion, KnownSamples, from_rgb, keep_known, known_samples, to_picture, to_rgb

CPU = torch.device("cpu")
LAYOUTS = [Layout(Kind.YUV, depth, x, y) for depth in (8, 10, 12) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1), (2, 0))]
LAYOUTS += [Layout(Kind.RGB, 8), Layout(Kind.RGB, 16), Layout(Kind.GRAY, 8), Layout(Kind.GRAY, 10)]


def frame_of(planes: tuple[np.ndarray, ...], layout: Layout, color: Color) -> Frame:
    return Frame(planes, layout, color, 0, Fraction(1, 25))


def smooth(layout: Layout, width: int, height: int, seed: int) -> tuple[np.ndarray, ...]:
    """Planes without detail that a chroma filter could not keep, inside the legal range."""
    rng = np.random.default_rng(seed)
    planes = []
    sizes = [(width, height)] + [layout.chroma_size(width, height)] * 2
    if layout.kind is Kind.GRAY:
        sizes = sizes[:1]
    if layout.kind is Kind.RGB:
        sizes = [(width, height)] * 3
    for wide, tall in sizes:
        low, high = (110, 145) if layout.kind is Kind.YUV else (0, 255)
        level = rng.integers(low, high) << (layout.depth - 8)
        kind = np.uint8 if layout.depth == 8 else np.uint16
        planes.append(np.full((tall, wide), level, kind))
    return tuple(planes)


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(LAYOUTS),
    st.sampled_from(["bt709", "smpte170m", "bt2020nc", ""]),
    st.sampled_from([True, False, None]),
    st.sampled_from(["left", "center", "topleft", ""]),
    st.integers(1, 33),
    st.integers(1, 21),
    st.integers(0, 9999),
)
def test_there_and_back_changes_no_sample(
    layout: Layout, matrix: str, full: bool | None, location: str, width: int, height: int, seed: int
) -> None:
    color = Color(matrix=matrix, full_range=full, chroma_location=location)
    planes = smooth(layout, width, height, seed)
    rgb, _ = to_rgb(frame_of(planes, layout, color), CPU)
    assert rgb.shape == (3, height, width)
    back = from_rgb(rgb, None, Conversion(layout, color, (width, height)))
    for old, new in zip(planes, back, strict=True):
        assert new.dtype == old.dtype
        assert new.shape == old.shape
        assert np.abs(new.astype(int) - old.astype(int)).max() <= (1 if layout.depth == 8 else 2)


@pytest.mark.parametrize(
    ("matrix", "full", "depth", "yuv"),
    [
        ("bt709", False, 8, (63, 102, 240)),  # pure red, ITU-R BT.709-6, 8 bit limited
        ("smpte170m", False, 8, (81, 90, 240)),  # pure red, ITU-R BT.601-7
        ("bt2020nc", False, 10, (294, 387, 960)),  # pure red, ITU-R BT.2020-2, 10 bit
        ("smpte170m", True, 8, (76, 85, 255)),  # pure red, JFIF
    ],
)
def test_red_is_red_in_every_matrix(matrix: str, full: bool, depth: int, yuv: tuple[int, int, int]) -> None:
    layout, color = Layout(Kind.YUV, depth), Color(matrix=matrix, full_range=full)
    kind = np.uint8 if depth == 8 else np.uint16
    planes = tuple(np.full((2, 2), value, kind) for value in yuv)
    rgb, _ = to_rgb(frame_of(planes, layout, color), CPU)
    torch.testing.assert_close(rgb[:, 0, 0], torch.tensor([1.0, 0.0, 0.0]), atol=0.012, rtol=0)
    red = torch.zeros(3, 2, 2)
    red[0] = 1
    for found, expected in zip(from_rgb(red, None, Conversion(layout, color, (2, 2))), yuv, strict=True):
        assert abs(int(found[0, 0]) - expected) <= 1


def test_an_untagged_picture_is_taken_by_its_size() -> None:
    layout = Layout(Kind.YUV, 8)
    assert Conversion(layout, Color(), (720, 576)).filled.matrix == "bt470bg"
    assert Conversion(layout, Color(), (720, 480)).filled.matrix == "smpte170m"
    assert Conversion(layout, Color(), (1280, 720)).filled.matrix == "bt709"


def test_chroma_agrees_with_swscale() -> None:
    """A color edge, 4:2:0 to RGB, against FFmpeg's own conversion."""
    y, x = np.mgrid[:32, :48]
    picture = np.stack([128 + 100 * np.sin(x / 9), 128 + 90 * np.cos(y / 7), 128 + 80 * np.sin((x + y) / 11)], -1)
    source = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24").reformat(format="yuv420p")
    planes = tuple(
        np.frombuffer(memoryview(p), np.uint8).reshape(p.height, p.line_size)[:, : p.width].copy()
        for p in source.planes
    )
    rgb, _ = to_rgb(frame_of(planes, Layout(Kind.YUV, 8, 1, 1), Color(matrix="smpte170m")), CPU)
    ours = (rgb.clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(ours - picture)[2:-2, 2:-2].mean() < 2.0


def test_alpha_travels() -> None:
    layout = Layout(Kind.RGB, 8, alpha=True)
    planes = tuple(np.full((4, 6), value, np.uint8) for value in (10, 20, 30, 40))
    rgb, alpha = to_rgb(frame_of(planes, layout, Color()), CPU)
    assert alpha is not None
    back = from_rgb(rgb, alpha, Conversion(layout, Color(), (6, 4)))
    assert [int(p[0, 0]) for p in back] == [10, 20, 30, 40]


def test_known_samples_are_put_back_exactly() -> None:
    sizes = ((5, 7), (3, 4), (3, 4))
    unknown = tuple(np.zeros(size, bool) for size in sizes)
    for samples in unknown:
        samples[0, 0] = True
    old = tuple(np.full(s, 1, np.uint8) for s in sizes)
    new = tuple(np.full(s, 9, np.uint8) for s in sizes)
    result = keep_known(new, KnownSamples(old, unknown))
    assert [int((p == 9).sum()) for p in result] == [1, 1, 1]
    assert all(p[0, 0] == 9 for p in result)


@pytest.mark.parametrize("layout", [Layout(Kind.YUV, 8, 1, 1), Layout(Kind.YUV, 8, 1, 0), Layout(Kind.YUV, 8)])
def test_what_is_known_stays_as_it_is_up_to_the_pixel_beside_the_mask(layout: Layout) -> None:
    rng = np.random.default_rng(2)
    sizes = [(20, 24), *[layout.chroma_size(24, 20)[::-1]] * 2]
    planes = tuple(rng.integers(60, 200, size).astype(np.uint8) for size in sizes)
    mask = np.zeros((20, 24), bool)
    mask[8:12, 8:12] = True
    frame = frame_of(planes, layout, Color())
    found = known_samples(to_picture(frame, CPU, mask), frame, mask)
    assert np.array_equal(found.planes[0], planes[0])
    assert np.array_equal(found.unknown[0], mask)
    wide = np.zeros((20, 24), bool)
    wide[8 - layout.shift_y : 12 + layout.shift_y, 8 - layout.shift_x : 12 + layout.shift_x] = True
    for plane, unknown, stored in zip(found.planes[1:], found.unknown[1:], planes[1:], strict=True):
        assert np.array_equal(unknown, block(wide, stored.shape))
        assert np.array_equal(plane[~unknown], stored[~unknown])


@pytest.mark.parametrize("layout", [x for x in LAYOUTS if x.shift_x or x.shift_y], ids=lambda x: x.pix_fmt)
@pytest.mark.parametrize("size", [(32, 24), (31, 23)])
def test_chroma_that_a_marked_pixel_shares_is_not_believed(layout: Layout, size: tuple[int, int]) -> None:
    """A mark in another color on an even ground, stored as encoders store it: blocks at its edge are mixed."""
    color = Color(matrix="bt709")
    mask = np.zeros(size[::-1], bool)
    mask[7:14, 9:20] = True
    mask[3, 5] = True
    picture = torch.full((3, size[1], size[0]), 0.4)
    picture[0] += 0.2
    plain = from_rgb(picture, None, Conversion(layout, color, size))
    picture[:, torch.from_numpy(mask)] = torch.tensor([0.1, 0.9, 0.2])[:, None]
    marked = from_rgb(picture, None, Conversion(layout, color, size))
    # what a wider filter mixed in beyond the blocks is no part of this
    stored = tuple(np.where(block(mask, new.shape), new, old) for new, old in zip(marked, plain, strict=True))
    ground, _ = to_rgb(frame_of(plain, layout, color), CPU)
    found = to_picture(frame_of(stored, layout, color), CPU, mask).colors
    known = torch.from_numpy(~mask)
    torch.testing.assert_close(found[:, known], ground[:, known], atol=1e-4, rtol=0)
    believed, _ = to_rgb(frame_of(stored, layout, color), CPU)
    assert (believed - ground)[:, known].abs().max() > 0.05
    torch.testing.assert_close(to_picture(frame_of(stored, layout, color), CPU, np.zeros_like(mask)).colors, believed)


def block(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Samples of a plane that any marked pixel shares, one by one."""
    found = np.zeros(shape, bool)
    rows, columns = -(-mask.shape[0] // shape[0]), -(-mask.shape[1] // shape[1])
    for y, x in np.argwhere(mask):
        found[y // rows, x // columns] = True
    return found


def test_where_all_chroma_is_unknown_it_is_gray() -> None:
    layout, color = Layout(Kind.YUV, 8, 1, 1), Color(matrix="bt709")
    planes = (np.full((4, 6), 120, np.uint8), *(np.full((2, 3), 200, np.uint8) for _ in range(2)))
    mask = np.zeros((4, 6), bool)
    mask[::2, ::2] = True
    found = to_picture(frame_of(planes, layout, color), CPU, mask).colors
    torch.testing.assert_close(found, found[:1].expand(3, -1, -1), atol=1e-5, rtol=0)
