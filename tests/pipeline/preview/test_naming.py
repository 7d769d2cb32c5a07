"""Names that users give to previews."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.clips import read, save_picture
from tests.pipeline.preview.previews import preview_job
from vrx import events
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.preview.run import preview


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_previews_of_numbered_pictures_may_be_named_as_pictures(tmp_path: Path, suffix: str) -> None:
    for number in range(2):
        save_picture(tmp_path / f"f_{number:03}.png", np.full((24, 32, 3), 90, np.uint8), "rgb24")
    job = preview_job(tmp_path / "f_%03d.png", tmp_path / f"look{suffix}")
    result = preview(job, events.ignore, ModelPool())
    assert result.clip is not None
    assert [path.name for path in (result.path, result.clip)] == ["look.preview.png", "look.preview.mp4"]
    assert len(read(result.clip).frames) == 2
