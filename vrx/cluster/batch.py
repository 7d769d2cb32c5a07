"""A batch on a Ray cluster: joined, its workers compared, its files restored there; `Batch` in all other respects."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from time import perf_counter

import torch

from vrx import events
from vrx.batches import BatchSettings
from vrx.cluster import connect
from vrx.cluster.cost import Rates, counts_for, find_limit, measure_disk, simulate
from vrx.cluster.crew import Crew, difference_of
from vrx.cluster.probe import SLOW, measure_file
from vrx.cluster.record import BatchRecord
from vrx.cluster.run import Run, Setup
from vrx.cluster.shipping import size_of, source_size
from vrx.cluster.start import Joined
from vrx.cluster.units import Facts
from vrx.cluster.worker import versions
from vrx.errors import StoppedError, UsageError, VrxError
from vrx.events import Fact, Note, Watcher, format_count
from vrx.files import format_bytes
from vrx.pipeline.batch import Batch
from vrx.pipeline.devices import weight_format
from vrx.pipeline.jobs import JobResult, exit_code_of
from vrx.pipeline.memory import BASE_MEMORY
from vrx.pipeline.needs import planned_memory
from vrx.pipeline.plan import Plan
from vrx.pipeline.pool import ModelPool, Selection
from vrx.pipeline.resume.writer import SEGMENT_FRAMES
from vrx.pipeline.run import RestoreResult
from vrx.pipeline.session import Session
from vrx.pipeline.source import find_boundaries
from vrx.pipeline.spans.result import divisible
from vrx.pipeline.spans.span import group_spans
from vrx.settings import Job

logger = logging.getLogger(__name__)


class ClusterBatch(Batch):
    """As `Batch`, on a cluster that was joined, and is left at the end.

    Raises UsageError and DeviceError where it cannot be used.
    """

    def __init__(self, jobs: Sequence[Job], watch: Watcher, settings: BatchSettings, joined: Joined) -> None:
        self._stops: list[events.Stopped] = []
        self._cluster, self._long = joined.leave, set[int]()
        pool = ModelPool()
        try:
            nodes = connect.find_nodes()
            model = jobs[0].model
            need = connect.plan_workers(nodes, memory_of(jobs), model.threads, model.device)
            template = absolute(replace(jobs[0], model=replace(jobs[0].model, threads=need.threads)))
            self._threads = need.threads
            self._crew = Crew(need, template, watch, shared=not settings.ship)
            self._crew.gather(self._look_ahead(jobs))
            self._starting = perf_counter() - joined.begin
            assert self._crew.first is not None
            self._facts = self._crew.first
            self._check_driver(self._facts)
            for job in jobs:
                named = replace(job.model, name=self._facts.means.model, prefer="auto", device="cpu")
                known, device = ModelPool().select(named, job.restore), torch.device(self._facts.means.device)
                alike = device.type == "cpu" and known.fit.quantized == weight_format(self._facts.means.dtype)
                chosen = replace(known, notes=()) if alike else Selection(known.entry, known.catalogue, device)
                pool.keep(job.model, job.restore, chosen)
            super().__init__(jobs, watch, settings, pool)
            self._announce(joined.where)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all workers, and leave the cluster."""
        if hasattr(self, "_crew"):
            self._crew.kill()
        self._cluster.close()

    def _look_ahead(self, jobs: Sequence[Job]) -> Iterator[bool]:
        """Note which files are long, one a step, the largest first: else a worker has to find out, and gives it back.

        What cannot be read is said when it is its turn.
        """
        pool = ModelPool()
        for number in sorted(range(len(jobs)), key=lambda number: -source_size(jobs[number])):
            with suppress(VrxError), Session(jobs[number], events.ignore, pool) as session:
                session.open()
                if divisible(session, SEGMENT_FRAMES):
                    self._long.add(number)
            yield True

    def _check_driver(self, facts: Facts) -> None:
        here = replace(facts, versions=versions())
        difference = difference_of(here, facts)
        if difference:
            raise UsageError(
                f"this machine and the nodes of the cluster differ: {difference}", "Install the same versions on both"
            )

    def _announce(self, where: str) -> None:
        workers = len(self._crew.ready)
        nodes = {worker.node.name for worker in self._crew.ready}
        size = sum(size_of(job) for job in self.jobs) if self._settings.ship else 0
        how = f"{format_bytes(size)} are shipped to them" if self._settings.ship else "all see the same files"
        counts = f"{format_count(workers, 'worker')} on {format_count(len(nodes), 'node')}"
        text = f"{where}: {counts} ({', '.join(sorted(nodes)[:8])}); {how}"
        self._watch(events.Noted.of("", Note("cluster-joined", text, {"workers": workers, "bytes": size})))

    def plan_all(self) -> list[Plan | VrxError]:
        """As that of `Batch`; `plan_note` says how long it takes with N workers, and what bounds it."""
        try:
            plans = super().plan_all()
            self.plan_note = self._predict(plans)
            if self._settings.ship:
                self.plan_note = self._add_shipped(self.plan_note, plans)
            return plans
        finally:
            self.close()

    def _add_shipped(self, note: Note | None, plans: Sequence[Plan | VrxError]) -> Note:
        """A note about a plan that also says how much is shipped for it."""
        size = sum(size_of(job) for job, plan in zip(self.jobs, plans, strict=True) if is_work(plan))
        text = f"{format_bytes(size)} are shipped to the nodes" + (f"; {note.text}" if note else "")
        return Note("cluster-plan", text, {**(note.facts if note else {}), "bytes": size})

    def _predict(self, plans: Sequence[Plan | VrxError]) -> Note | None:
        """What the cost model says, from spans that are found for it now; None where a model's speed is not known."""
        files: list[list[int]] = []
        seconds, scanned, passed, opened, size, frames = 0.0, 0.0, 0, 0.0, 0.0, 0
        for job, plan in zip(self.jobs, plans, strict=True):
            if isinstance(plan, VrxError) or not is_work(plan):
                continue
            if plan.seconds is None or not plan.frames:
                return None
            with Session(job, events.ignore, self._pool) as session:
                begin = perf_counter()
                session.open()
                ready = perf_counter()
                files.append(spans_of(session))
                opened += ready - begin
            found = sum(files[-1])
            if found > SEGMENT_FRAMES:
                scanned, passed = scanned + perf_counter() - ready, passed + found
            frames, seconds = frames + found, seconds + plan.seconds * found / plan.frames
            pixels = plan.target_size[0] * plan.target_size[1] / (plan.source_size[0] * plan.source_size[1])
            size += source_size(job) * pixels
        if not frames:
            return None
        threads = torch.get_num_threads() if self._facts.means.device == "cpu" else self._threads
        opened /= len(files)
        whole, loading = self._probe(plans, opened, seconds / frames)
        rates = Rates(
            restore=frames / seconds * min(1.0, self._threads / threads),
            scan=passed / scanned if passed else inf,
            disk=measure_disk(Path(tempfile.gettempdir())),
            frame_bytes=size / frames,
            start=self._starting + loading,
            open=whole,
            whole=SEGMENT_FRAMES,
        )
        limit, there = find_limit(files, rates), len(self._crew.ready)
        times = {n: simulate(files, n, rates).seconds for n in counts_for(there, limit.workers)}
        shown = ", ".join(f"{n}: {format_seconds(s)}" for n, s in times.items())
        text = (
            f"{format_count(sum(map(len, files)), 'span')} of {format_count(len(files), 'file')}, "
            f"{format_count(frames, 'frame')}; time by number of workers "
            f"({there} here): {shown}; more than about {limit.workers} do not help: {limit.name}"
        )
        facts: dict[str, Fact] = {"spans": sum(map(len, files)), "frames": frames, "workers": there}
        facts |= {"limit": limit.name, "limit_workers": limit.workers}
        return Note("cluster-plan", text, {**facts, **{f"seconds_{n}": s for n, s in times.items()}})

    def _probe(self, plans: Sequence[Plan | VrxError], opened: float, frame: float) -> tuple[float, float]:
        """Seconds of a span besides its frames, and of loading the model.

        Where frames are slow, or this machine has not what workers have, those of opening stand for them.
        """
        if frame > SLOW or self._facts.means.device != "cpu":
            return opened, 0.0
        for job, plan, place in zip(self.jobs, plans, self.destinations, strict=True):
            if is_work(plan) and place is not None and not place.sequence:
                there = self._on_worker(job)
                self._pool.keep(there.model, there.restore, self._pool.select(job.model, job.restore))
                with suppress(VrxError):
                    whole, loading = measure_file(there, place.path, self._pool)
                    return max(opened, whole - frame), loading
        return opened, 0.0

    def _make_setup(self) -> Setup:
        return Setup(
            jobs=self.jobs,
            destinations=self.destinations,
            outputs=self._outputs,
            crew=self._crew,
            deadline=self._settings.deadline,
            watch=self._watch,
            runner=self._runner,
            pool=self._pool,
            means=self._facts.means,
            on_worker=self._on_worker,
            long=self._long,
            ships=self._settings.ship,
            results=self.results,
            stops=self._stops,
        )

    def _on_worker(self, job: Job) -> Job:
        """A job that means the same on every node, with a worker's share of threads."""
        return absolute(replace(job, model=replace(job.model, threads=self._threads)))

    @property
    def records_results(self) -> bool:
        """As that of `Batch`: a record of the batch says it."""
        return True

    @property
    def stops(self) -> list[events.Stopped]:
        """The events of the files that a stop ended."""
        return self._stops

    def restore(self, number: int) -> RestoreResult:
        """As that of `Batch`; all jobs are restored."""
        result = self.restore_all()[number].result
        if isinstance(result, VrxError):
            raise result
        assert isinstance(result, RestoreResult)  # previews are refused
        return result

    def restore_all(self) -> Mapping[int, JobResult]:
        """As that of `Batch`."""
        record = BatchRecord(self.jobs, [d.path if d else None for d in self.destinations])
        try:
            Run(self._make_setup(), record).run()
        except (KeyboardInterrupt, StoppedError) as stop:
            self._finish(exit_code_of(stop))
            raise
        finally:
            self.close()
        if all(not isinstance(done.result, VrxError) for done in self.results.values()):
            record.remove()
        self._finish(self.exit_code())
        return self.results


def spans_of(session: Session) -> list[int]:
    """The lengths of the spans of an open session, in frames.  One that is not divided is not read for it."""
    whole = not divisible(session, SEGMENT_FRAMES)
    if whole and session.frames is not None:
        return [session.frames]
    session.skim()
    lengths = [span.frames for span in group_spans(find_boundaries(session), session.reader.origin, SEGMENT_FRAMES)]
    return [sum(lengths)] if whole else lengths


def is_work(plan: Plan | VrxError) -> bool:
    """Whether a run restores what was planned."""
    return not isinstance(plan, VrxError) and plan.action in ("write", "replace")


def format_seconds(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def absolute(job: Job) -> Job:
    """A job whose paths mean the same in every folder."""
    restore, selection = job.restore, job.selection
    if restore.mask is not None:
        restore = replace(restore, mask=restore.mask.absolute())
    if selection.scenes not in ("auto", "off"):
        selection = replace(selection, scenes=str(Path(selection.scenes).absolute()))
    return replace(job, source=str(Path(job.source).absolute()), restore=restore, selection=selection)


def memory_of(jobs: Sequence[Job]) -> int:
    """Bytes that a worker takes for the largest file; what cannot be read is said when it is its turn."""
    largest = max(jobs, key=source_size)
    with suppress(VrxError), Session(largest, events.ignore, ModelPool()) as session:
        session.open()
        return planned_memory(session) or BASE_MEMORY
    return BASE_MEMORY
