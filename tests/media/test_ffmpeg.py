import logging

import pytest

from vrx.errors import OutputError
from vrx.media.ffmpeg import FFmpegProcess, describe_exit, encoder_error, executable, has_option, strip_address


@pytest.mark.parametrize(
    ("status", "text"),
    [(234, "exited with status 234"), (-9, "was killed by SIGKILL"), (-200, "was killed by signal 200")],
)
def test_exit_statuses_in_words(status: int, text: str) -> None:
    assert describe_exit(status) == text


def test_addresses_are_removed_from_messages() -> None:
    assert strip_address("[libx264 @ 0x55d0] broken ffmpeg build.") == "libx264: broken ffmpeg build"
    assert strip_address("plain line") == "plain line"


def test_the_line_that_names_the_cause_is_reported() -> None:
    arguments = ["-f", "lavfi", "-i", "color=size=64x64:rate=1:duration=1", "-c:v", "libx264", "-preset", "none-such"]
    with pytest.raises(OutputError, match=r"ffmpeg exited with status \d+: .*invalid preset 'none-such'"):
        FFmpegProcess([*arguments, "-f", "null", "-"]).finish()


def test_command_lines_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "vrx.media.ffmpeg"):
        FFmpegProcess(["-version"]).finish()
    assert caplog.messages == [f"{executable()} -hide_banner -nostdin -loglevel warning -version"]


def test_encoders_and_options_are_tried() -> None:
    assert encoder_error(executable(), "libx264", "yuv420p") == ""
    assert "none_such" in encoder_error(executable(), "none_such", "yuv420p")
    assert has_option(executable(), "itsoffset")
    assert not has_option(executable(), "none_such")
