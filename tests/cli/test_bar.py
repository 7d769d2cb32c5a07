"""The line in motion: what it shows, and that it fits."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from vrx import events
from vrx.cli.bar import Bar, Line, shorten

LONG = "videos/a-long-name-of-a-holiday-in-the-mountains.mp4"


@pytest.mark.parametrize("width", [120, 80, 50, 40])
@pytest.mark.parametrize("name", ["a.mp4", LONG, "\u52d5\u753b" * 20 + ".mp4"])
def test_a_line_leaves_three_columns_free(width: int, name: str) -> None:
    text = Line(name, 0.45, ("12345/123456", "12.3 fps", "1:02:03")).render(width).plain
    assert cell_len(text) <= width - 3
    assert "45%" in text
    assert text.endswith("1:02:03" if width > 40 else "12.3 fps")  # what does not fit is dropped, not cut
    assert name[-3:] in text


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (80, "…e-mountains.mp4 ━━━━━━━━━─────────  50%  240/576 frames  14.0 fps  0:24 left"),
        (70, "…untains.mp4 ━━━━━━──────  50%  240/576 frames  14.0 fps  0:24 left"),
        (69, "…ountains.mp4 ━━━━━━━─────── 50% 240/576 frames 14.0 fps 0:24 left"),  # closer together
        (50, "…mp4 ━━── 50% 240/576 frames 14.0 fps 0:24 left"),
        (40, "…mp4 ━━── 50% 240/576 frames 14.0 fps"),  # numbers go before the name has less than six columns
        (30, "…p4 ━━── 50% 240/576 frames"),
    ],
)
def test_name_and_bar_share_what_the_numbers_leave(width: int, expected: str) -> None:
    line = Line(LONG, 0.5, ("240/576 frames", "14.0 fps", "0:24 left"))
    assert line.render(width).plain == expected
    assert cell_len(expected) <= width - 3


def test_the_bar_grows_with_the_share() -> None:
    lines = [Line("a.mp4", share, ("1/2",)).render(60).plain for share in (0.0, 0.5, 1.0)]
    counts = [line.count("\u2501") for line in lines]
    assert counts[0] == 0 < counts[1] < counts[2]
    assert [line.count("\u2500") for line in lines][2] == 0
    assert "=" in Line("a.mp4", 0.5).render(60, ascii_only=True).plain


def test_names_are_shortened_from_the_left() -> None:
    assert shorten("holiday.mp4", 8) == "\u2026day.mp4"
    assert shorten("holiday.mp4", 11) == "holiday.mp4"
    assert shorten("\u52d5\u753b.mp4", 7) == "\u2026\u753b.mp4"


def bar_at(width: int, verbose: bool = False) -> Bar:
    return Bar(Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None), verbose)


def shown(bar: Bar) -> list[str]:
    return bar._render().plain.splitlines()


def test_progress_of_a_file_has_percent_frames_speed_and_time_left() -> None:
    event = events.Advanced(input="in.mp4", done=240, frames=576, scene=2, fps=14.0, queues={"encode": 1})
    wide, narrow, verbose = bar_at(80), bar_at(50), bar_at(120, verbose=True)
    for bar in (wide, narrow, verbose):
        bar(event)
    assert " 42%  240/576 frames  14.0 fps  0:24 left" in shown(wide)[0]
    assert shown(narrow)[0].endswith(" 42% 240/576 14.0 fps 0:24")
    assert "encode" not in shown(wide)[0]
    assert shown(verbose)[0].endswith("scene 2 encode:1")


def test_a_cluster_has_one_line_for_all_files() -> None:
    bar = bar_at(100)
    bar(events.Opening(input="a.mp4"))
    for share, left in ((0.25, 3730.0), (0.5, None)):
        bar(
            events.ClusterAdvanced(
                files_done=3, files=40, spans_done=31, spans=92, workers=8, fps=12.14, share=share, seconds_left=left
            )
        )
        (line,) = shown(bar)
        assert line.startswith("cluster ")
        assert f"{share:.0%}  3 of 40 files  31 of 92 spans  8 workers  12.1 fps" in line
        assert line.endswith("1:02:10 left") == (left is not None)


def test_a_pipe_has_no_percent() -> None:
    bar = bar_at(80)
    bar(events.Advanced(input="-", done=40, frames=None, scene=1, fps=0.5, queues={}))
    assert shown(bar) == ["standard input 40 frames  2.0 s/frame"]


def test_downloads_have_lines_of_their_own_until_the_run_starts() -> None:
    bar = bar_at(80)
    bar(events.Opening(input="in.mp4"))
    bar(events.Fetching(input="in.mp4", part="model.pt", done=0, size=4_000_000))
    bar(events.Fetching(input="in.mp4", part="model.pt", done=2_000_000, size=4_000_000))
    first, second = shown(bar)
    assert "50%  2.0/4.0 MB" in first
    assert second.strip() == "opening in.mp4"
    bar(
        events.Started(
            input="in.mp4", output="out.mp4", frames=8, source_size=(4, 4), target_size=(8, 8),
            model="m", device="cpu", dtype="float32", resumed_frames=2,
        )
    )  # fmt: skip
    (line,) = shown(bar)
    assert "25%  2/8 frames" in line
