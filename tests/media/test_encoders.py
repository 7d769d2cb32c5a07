import subprocess

import pytest

from vrx.errors import UsageError
from vrx.media.encoders import advise_codec, choose_layout, default_encoder, encoder_pix_fmt, find_encoder, slice_count
from vrx.media.ffmpeg import executable
from vrx.media.frame import Kind, Layout


@pytest.mark.parametrize(
    ("suffix", "depth", "encoder"),
    [(".avi", 10, "libx264"), (".avi", 8, "libx264"), (".mkv", 10, "libx265"), (".mp4", 12, "libx265")],
)
def test_only_containers_whose_players_expect_it_get_hevc(suffix: str, depth: int, encoder: str) -> None:
    assert default_encoder(Layout(Kind.YUV, depth, 1, 1), suffix) == encoder


@pytest.mark.parametrize(
    ("layout", "codec", "size", "expected", "words"),
    [
        (Layout(Kind.YUV, 8, 1, 1), "h264", (64, 48), "yuv420p", ""),
        (Layout(Kind.YUV, 8, 0, 0), "h264", (64, 48), "yuv444p", ""),
        (Layout(Kind.YUV, 10, 1, 1), "h264", (64, 48), "yuv420p10le", ""),
        (Layout(Kind.YUV, 12, 1, 1), "h264", (64, 48), "yuv420p10le", "12 bits"),
        (Layout(Kind.YUV, 8, 1, 1), "h264", (63, 48), "yuv444p", "odd size"),
        (Layout(Kind.YUV, 8, 1, 1), "hevc", (63, 47), "yuv444p", "odd size"),
        (Layout(Kind.YUV, 8, 0, 0), "av1", (64, 48), "yuv420p", "4:4:4"),
        (Layout(Kind.RGB, 8), "ffv1", (64, 48), "gbrp", ""),
        (Layout(Kind.RGB, 8), "h264", (64, 48), "yuv444p", "RGB"),
        (Layout(Kind.RGB, 8, alpha=True), "prores", (64, 48), "yuva444p10le", ""),
        (Layout(Kind.YUV, 12, alpha=True), "prores", (64, 48), "yuva444p10le", "12 bits"),
        (Layout(Kind.GRAY, 8, alpha=True), "png", (64, 48), "ya8", ""),
        (Layout(Kind.GRAY, 16, alpha=True), "tiff", (64, 48), "gbrap16le", ""),
        (Layout(Kind.RGB, 16, alpha=True), "tiff", (64, 48), "gbrap16le", ""),
        (Layout(Kind.GRAY, 8, alpha=True), "libwebp", (64, 48), "yuva420p", ""),
        (Layout(Kind.GRAY, 16, alpha=True), "prores", (64, 48), "yuva444p10le", "16 bits"),
        (Layout(Kind.RGB, 8, alpha=True), "h264", (64, 48), "yuv444p", "transparency"),
        (Layout(Kind.YUV, 8, 1, 1), "prores", (64, 48), "yuv422p10le", ""),
        (Layout(Kind.GRAY, 8), "vp9", (64, 48), "yuv420p", ""),
        (Layout(Kind.YUV, 8, 2, 0), "h264", (64, 48), "yuv422p", ""),
    ],
)
def test_layouts_are_kept_as_far_as_the_encoder_can(
    layout: Layout, codec: str, size: tuple[int, int], expected: str, words: str
) -> None:
    found, lost = choose_layout(layout, find_encoder(codec), size)
    assert found.pix_fmt == expected
    assert words in lost
    assert bool(lost) == bool(words)


def test_codecs_are_found_by_short_and_by_ffmpeg_name() -> None:
    assert find_encoder("hevc") is find_encoder("libx265")
    assert find_encoder("hevc_nvenc").quality == ("-cq", 19)
    assert find_encoder("h264_qsv").depths == (8,)
    with pytest.raises(UsageError, match="unknown codec 'h266'"):
        find_encoder("h266")


@pytest.mark.parametrize(
    ("layout", "name", "expected"),
    [
        (Layout(Kind.RGB, 8), "png", "rgb24"),
        (Layout(Kind.RGB, 8), "ffv1", "bgr0"),
        (Layout(Kind.RGB, 10), "ffv1", "gbrp10le"),
        (Layout(Kind.GRAY, 16), "png", "gray16be"),
        (Layout(Kind.YUV, 8, 1, 1), "mjpeg", "yuvj420p"),
        (Layout(Kind.GRAY, 8), "mjpeg", "gray"),
        (Layout(Kind.YUV, 10, 1, 0), "prores_ks", "yuv422p10le"),
    ],
)
def test_encoders_take_their_own_pixel_formats(layout: Layout, name: str, expected: str) -> None:
    assert encoder_pix_fmt(layout, name) == expected


@pytest.mark.parametrize(("suffix", "encoder"), [(".mov", "prores_ks"), (".mkv", "ffv1"), (".mp4", "libx264")])
def test_transparent_video_gets_an_encoder_with_alpha_where_the_container_has_one(suffix: str, encoder: str) -> None:
    assert default_encoder(Layout(Kind.RGB, 8, alpha=True), suffix) == encoder


@pytest.mark.parametrize(
    ("name", "quality", "preset", "extra"),
    [
        ("libx264", ("-crf", 17), "medium", ""),
        ("libx265", ("-crf", 18), "fast", "-tag:v:0 hvc1"),  # the tag that Apple's players expect
        ("libsvtav1", ("-crf", 22), "7", ""),
        ("libvpx-vp9", ("-crf", 22), None, "-b:v:0 0 -row-mt 1 -deadline good -cpu-used 4"),
        ("ffv1", None, None, "-level 3 -slicecrc 1 -g 1"),
        ("mjpeg", None, None, "-q:v 2 -huffman optimal"),
        ("libwebp", None, None, "-quality 95"),
    ],
)
def test_encoders_lose_little_unless_asked(
    name: str, quality: tuple[str, int] | None, preset: str | None, extra: str
) -> None:
    encoder = find_encoder(name)
    assert (encoder.quality, encoder.preset, " ".join(encoder.extra)) == (quality, preset, extra)


def encode_picture(name: str, size: tuple[int, int], pixels: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Ask ffmpeg for one flat picture of a size."""
    made = f"color=s=64x64:r=1,scale={size[0]}:{size[1]}:flags=neighbor"
    words = f"-v error -f lavfi -i {made} -pix_fmt {pixels} -c:v {name} -frames:v 1".split()
    return subprocess.run([executable(), *words, *options, "-f", "null", "-"], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("name", "largest", "pixels", "options"),
    [
        ("libx264", (16384, 16384), "yuv420p", ()),
        ("libsvtav1", (16384, 8704), "yuv420p", ("-preset", "13")),
        ("libwebp", (16383, 16383), "yuv420p", ()),
        ("mjpeg", (65500, 65500), "yuvj420p", ()),
    ],
)
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("more", [0, 2])
def test_the_largest_size_is_what_ffmpeg_takes(
    name: str, largest: tuple[int, int], pixels: str, options: tuple[str, ...], side: int, more: int
) -> None:
    assert find_encoder(name).largest == largest
    size = (largest[0] + more, 64) if side == 0 else (64, largest[1] + more)
    done = encode_picture(name, size, pixels, *options)
    assert (done.returncode == 0) == (more == 0), done.stderr


def test_what_the_hint_names_takes_more() -> None:
    done = encode_picture("libx265", (16400, 64), "yuv420p", "-x265-params", "log-level=error")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("size", [(16386, 64), (64, 16386)])
def test_a_size_that_an_encoder_does_not_take_is_refused(size: tuple[int, int]) -> None:
    layout = Layout(Kind.YUV, 8, 1, 1)
    for name in ("libx264", "libsvtav1"):
        with pytest.raises(UsageError, match=f"{name} cannot hold {size[0]}x{size[1]}, at most 16384x"):
            choose_layout(layout, find_encoder(name), size)
    assert choose_layout(layout, find_encoder("libx265"), size)[1] == ""


@pytest.mark.parametrize(
    ("container", "codec", "size", "hint"),
    [
        ("webm", "av1", (16386, 64), "Use --codec vp9, or a smaller size"),
        ("mp4", "h264", (16386, 64), "Use --codec hevc or vp9, or a smaller size"),
        ("avi", "h264", (16386, 64), "Use --codec ffv1, or a smaller size"),
        ("mpegts", "h264", (16386, 64), "Use --codec hevc, or a smaller size"),
        ("mp4", "h264_nvenc", (65, 48), "Use --codec h264, hevc, av1 or vp9"),
        ("webm", "av1_nvenc", (65, 48), "Use --codec vp9 or av1"),
    ],
)
def test_hints_name_codecs_that_the_container_holds(
    container: str, codec: str, size: tuple[int, int], hint: str
) -> None:
    with pytest.raises(UsageError) as refused:
        choose_layout(Layout(Kind.YUV, 8, 1, 1), find_encoder(codec), size, container)
    assert refused.value.hint == hint


def test_a_codec_that_failed_is_not_advised() -> None:
    assert advise_codec("webm", (64, 48), find_encoder("vp9")) == "Use --codec av1"


@pytest.mark.parametrize(
    ("size", "slices"), [((16, 16), 4), ((3840, 2160), 4), ((7680, 4320), 9), ((8192, 8192), 16), ((16384, 8704), 36)]
)
def test_large_pictures_have_more_slices(size: tuple[int, int], slices: int) -> None:
    assert slice_count(size) == slices


@pytest.mark.parametrize("size", [(4200, 4200), (7680, 4320)])
def test_ffmpeg_takes_the_slices(size: tuple[int, int]) -> None:
    slices = ("-slices", str(slice_count(size)))
    done = encode_picture("ffv1", size, "gray", *slices, *find_encoder("ffv1").extra)
    assert done.returncode == 0, done.stderr
