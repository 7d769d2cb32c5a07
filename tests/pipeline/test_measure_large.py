from pathlib import Path

import torch

from tests.restorers import small
from vrx.pipeline.measure_large import measured, parameters
from vrx.restorers.registry import Request, build, given, parts_of
from vrx.settings import ModelSettings, RestoreSettings, Task
from vrx.weights.locate import Shop

CPU = torch.device("cpu")
SHOP = Shop(models=Path("none"), offline=True, note=print)


def test_every_stage_is_counted_and_timed(tmp_path: Path) -> None:
    path = small.flashvsr(tmp_path / "m")
    entry, model = given(path), ModelSettings()
    restore = RestoreSettings(task=Task.UPSCALE, scale=4)
    request = Request(parts_of(entry, model, {}, SHOP), restore, model, CPU, torch.float32)
    restorer = build(entry, request)
    rows = measured(restorer, (128, 128), 1, CPU, (1e9, 1e9))
    assert [row.stage for row in rows] == ["encode", "generate", "decode"]
    for row in rows:
        held = sum(p.nbytes for p in parameters(getattr(restorer, row.stage)))
        assert held
        assert row.bytes >= held
        assert row.operations > 1e5
        assert row.floor == max(row.operations, row.bytes) / 1e9
        assert row.frames == 8
        assert row.seconds > 0
    assert rows[1].bytes > sum(p.nbytes for p in parameters(restorer.generate))  # its cache
