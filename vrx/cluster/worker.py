"""A worker: a process somewhere in the cluster, with its model loaded once, that restores unit after unit."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import monotonic

import av
import torch

import vrx
from vrx import events
from vrx.cluster.shipping import Shipment, forget, name_originals, read_pieces, unpack
from vrx.cluster.units import (
    Beat,
    Facts,
    FileDone,
    FileUnit,
    Message,
    Outcome,
    Piece,
    SpanDone,
    SpanUnit,
    TooLong,
    Unit,
    UnitFailed,
)
from vrx.errors import InputError, VrxError
from vrx.events import Event, Note
from vrx.media import ffmpeg
from vrx.media.file_types import is_pattern
from vrx.pipeline.devices import pick_dtype, weight_format
from vrx.pipeline.jobs import as_failure
from vrx.pipeline.pool import ModelPool
from vrx.pipeline.resume.fingerprint import hash_samples
from vrx.pipeline.run import execute
from vrx.pipeline.session import Session
from vrx.pipeline.spans.restore import restore_span
from vrx.pipeline.spans.result import Means, divisible, name_dtype
from vrx.settings import Job
from vrx.weights.download import Downloader

BEAT_SECONDS = 1.0  # between two signs of life


def versions() -> dict[str, str]:
    """Of what decides the bytes of a result."""
    return {
        "vrx": vrx.__version__,
        "torch": torch.__version__,
        "ffmpeg": ffmpeg.version(ffmpeg.executable()),
        "PyAV": av.__version__,
    }


class VrxWorker:
    """The class of the actor.  `work` is a generator: what it yields reaches the driver at once."""

    def __init__(self, level: int = 0) -> None:
        if level:
            logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
            logging.getLogger("vrx").setLevel(level)
        self._pool = ModelPool()

    def node(self) -> str:
        """The id of the node that it is on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def prepare(self, job: Job, shared: bool, pixels: int) -> Facts | VrxError:
        """Select the model of a job, have its files pulled and verified on this node; what this worker is.

        `shared`: the input is to be there, under its path.  `pixels` of its output, by which the model is selected.
        """
        try:
            if shared and not is_pattern(Path(job.source)) and not Path(job.source).exists():
                hint = "Use a folder that all nodes have under the same path, or --ship"
                return InputError(f"{job.source} is not there", hint)
            chosen = self._pool.select(job.model, job.restore, pixels=pixels)
            downloader = Downloader.for_watcher(chosen.entry.name, events.ignore, job.model.offline)
            paths = self._pool.components(job.model, job.restore, downloader).paths()
            dtype = pick_dtype(job.model.dtype, chosen.device)
            means = Means(
                model=chosen.entry.name,
                checkpoint="; ".join(f"{path.name} {hash_samples(path)}" for path in paths),
                device=chosen.device.type,
                dtype=name_dtype(dtype, chosen.fit.quantized or weight_format(job.model.dtype)),
                network_type=name_dtype(dtype),
            )
            return Facts(
                host=socket.gethostname(),
                pid=os.getpid(),
                means=means,
                versions=versions(),
            )
        except VrxError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the driver tells it, with the name of the node
            return as_failure(error, job)

    def forget(self, keys: tuple[str, ...]) -> None:
        """Remove this node's copies of shipments."""
        forget(keys)

    def work(self, unit: Unit) -> Iterator[Message]:
        """Restore a unit: beats while it goes on, pieces of what is sent back, and its outcome at the end."""
        messages: SimpleQueue[Message] = SimpleQueue()
        Thread(target=self._guard, args=(unit, messages), daemon=True, name="vrx unit").start()
        while True:
            message = messages.get()
            yield message
            if isinstance(message, Outcome):
                return

    def _guard(self, unit: Unit, messages: SimpleQueue[Message]) -> None:
        job = unit.job if isinstance(unit, FileUnit) else unit.work.job
        try:
            outcome = self._restore(unit, messages)
        except VrxError as error:
            outcome = UnitFailed(error)
        except BaseException as error:  # noqa: BLE001 - the driver tells it
            outcome = UnitFailed(as_failure(error, job) if isinstance(error, Exception) else VrxError(repr(error)))
        if isinstance(outcome, UnitFailed):
            self._pool.drop()  # its state is undefined
            failure = outcome.error
            failure.message, failure.hint = (name_originals(s, unit.shipments) for s in (failure.message, failure.hint))
        messages.put(outcome)

    def _restore(self, unit: Unit, messages: SimpleQueue[Message]) -> Outcome:
        watch = Beats(messages, unit.shipments)
        messages.put(Beat(0))
        try:
            return self._send_back(unit, messages, watch) if unit.returns else self._restore_in(unit, None, watch)
        finally:
            watch.flush()

    def _send_back(self, unit: Unit, messages: SimpleQueue[Message], watch: Beats) -> Outcome:
        """Restore a unit on this node's disk, and send what was written in pieces."""
        folder = Path(tempfile.mkdtemp(prefix="vrx-"))
        try:
            outcome = self._restore_in(unit, folder, watch)
            names = (outcome.name,) if isinstance(outcome, SpanDone) else ()
            for name in outcome.names if isinstance(outcome, FileDone) else names:
                for number, content in enumerate(read_pieces(folder / name)):
                    messages.put(Piece(name, content, first=number == 0))
            return outcome
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _restore_in(self, unit: Unit, folder: Path | None, watch: Beats) -> Outcome:
        """Restore a unit into another folder than its own where one is given."""
        if isinstance(unit, SpanUnit):
            work = replace(unit.work, job=unpack(unit.work.job, unit.shipments))
            segment = restore_span(work, folder or unit.folder, self._pool, watch)
            return SpanDone(segment.path.name, segment.frames, segment.begin)
        job = unpack(unit.job, unit.shipments)
        place = Path(job.output.path or "")
        if folder is not None:
            place = folder / place.name
            job = replace(job, output=replace(job.output, path=str(place)))
        return self._restore_file(job, unit.limit, place.parent, watch)

    def _restore_file(self, job: Job, limit: int, folder: Path, watch: Beats) -> Outcome:
        with Session(job, watch, self._pool) as session:
            session.open()
            if divisible(session, limit):
                return TooLong(session.frames)
            done = execute(session)
        names = tuple(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))
        return FileDone(names, done.frames, done.scenes)


class Beats:
    """A watcher that sends a beat now and then, and every note at the next."""

    def __init__(self, messages: SimpleQueue[Message], shipments: tuple[Shipment, ...]) -> None:
        self._messages, self._shipments, self._sent, self._notes, self._done = messages, shipments, monotonic(), [], 0

    _notes: list[Note]

    def __call__(self, event: Event) -> None:
        """Take an event of the run."""
        if isinstance(event, events.Noted):
            text = name_originals(event.text, self._shipments)
            self._notes.append(Note(event.code, text, event.facts, event.level))
        elif isinstance(event, events.Advanced):
            self._done = event.done
        elif not isinstance(event, events.Finished):
            return
        if isinstance(event, events.Finished) or monotonic() - self._sent >= BEAT_SECONDS:
            self._messages.put(Beat(self._done, tuple(self._notes)))
            self._sent = monotonic()
            self._notes.clear()

    def flush(self) -> None:
        """Send the notes that are left."""
        if self._notes:
            self._messages.put(Beat(self._done, tuple(self._notes)))
            self._notes.clear()
