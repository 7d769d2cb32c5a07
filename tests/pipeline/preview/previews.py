"""Preview jobs for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.pipeline.jobs import make_job
from vrx.pipeline.preview.source import Source
from vrx.previews import PreviewSettings
from vrx.settings import Job


def preview_job(source: Path | str, output: Path | str | None = None, **words: Any) -> Job:
    """As `make_job`, with the fields of PreviewSettings among the words."""
    named = {name: words.pop(name) for name in ("at", "length", "variants") if name in words}
    named["at"] = tuple(map(Fraction, named.get("at", ())))
    job = make_job(source, **words)
    job = replace(job, output=replace(job.output, path=None if output is None else str(output)))
    return replace(job, preview=PreviewSettings(**named))


@contextmanager
def source_of(path: Path, **selection: Any) -> Iterator[tuple[Source, Job]]:
    """The source of a preview, with its job."""
    job = preview_job(path, selection=selection)
    yield Source.of(job, path, path.name), job
