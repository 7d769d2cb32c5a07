"""Which encoder is taken where none is named."""

import pytest

from vrx.media.encoders import default_encoder
from vrx.media.frame import Kind, Layout


@pytest.mark.parametrize(
    ("suffix", "depth", "encoder"),
    [(".avi", 10, "libx264"), (".avi", 8, "libx264"), (".mkv", 10, "libx265"), (".mp4", 12, "libx265")],
)
def test_only_containers_whose_players_expect_it_get_hevc(suffix: str, depth: int, encoder: str) -> None:
    assert default_encoder(Layout(Kind.YUV, depth, 1, 1), suffix) == encoder
