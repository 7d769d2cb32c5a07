"""Events of a run: the documented interface of `--json` and of `on_event` in Python.

Events are frozen values.  A watcher is called with each of them, in order, and must return soon.  With
`--json` every event is one JSON object on a line of standard output: `type` is the event's `kind`, the
other keys are its fields.  Frames count from 0, scenes from 1, sizes are (width, height).

A restoring command gives, for each input, `opening`, then `started`, then any number of `scene`,
`progress`, `note` and `fetching`, then one of `finished`, `previewed`, `skipped`, `failed` and `stopped`; and
after the last input one `batch-finished`.  A command that is refused before its inputs are looked at (wrong options)
gives one `failed` whose `input` is empty.  Estimates (blur, degradation) and everything that a result
lacks come as `note` with a `code` and `facts`.  A preview gives the events of one run, without `scene`, and scenes
have no numbers in its notes (null).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Level = Literal["detail", "info", "warning"]
INFO: Level = "info"
DETAIL: Level = "detail"  # shown with --verbose
Fact = str | int | float | bool | None

NOTE_CODES = {  # every code of a note: what it means, and the names of its facts
    "already-finished": "an earlier run finished the result and was stopped before it cleaned up: output",
    "attention-fallback": "a kernel of attention failed, none is fast, or torch orders them: nothing but time is lost",
    "catalogue-entry-unusable": "an entry of the user's catalogue is not considered: model",
    "chapter-loss": "the container does not hold chapters: chapters",
    "checkpoint": "the files of the model: files",
    "chunk-length": "frames of the first and of later chunks: first, next",
    "compiled": "what of the networks is compiled, and where the compiler saves its work: parts (no: nothing), folder",
    "color-change": "the color tags change within the source",
    "compared-part": "pictures of one video are a part of another's: path",
    "compared-resized": "pictures are resized to be compared: path",
    "compared-stretched": "pictures have another shape than the first video's and are not a part of it: path",
    "container-chosen": "the result has another container than the source, and why",
    "cropped": "what of the picture is restored: crop (W:H:X:Y, None where no borders were found)",
    "damaged-packets": "packets of the source were skipped: packets",
    "delay-found": "the content of one video comes earlier or later than another's: path, frames",
    "decoded-without-gpu": "a GPU was to decode the source, and the processor does: nothing but time is lost",
    "degradation-estimated": "the damage of a scene: scene, noise, luma_noise, chroma_noise (levels of 255), "
    "compression (0 to 1), blur (its kind), sigma (pixels), angle (degrees, of motion), softness (0 to 1), "
    "enlarged (before, surely); when deblurring also strength, how much is undone (0: left as it is)",
    "download-started": "files are downloaded: model, files, bytes, license",
    "earlier-work-deleted": "--no-resume deleted the unfinished work of an earlier run",
    "empty-mask": "a mask marks nothing",
    "encoder": "the encoder of the result: encoder",
    "encoder-setting-unused": "the encoder of the result has no such setting: encoder, option",
    "encoder-chosen": "another encoder or preset than usual keeps up with the GPU: encoder, preset",
    "frames-left-over": "frames of a video have no counterpart in another: path, frames",
    "frames-saved": "a run failed and the next one can resume: frames",
    "hdr-compared": "HDR is compared by its coded values: transfer",
    "gpu-unusable": "there is an NVIDIA GPU that cannot be used, and why",
    "hdr10-loss": "HDR10 data is incomplete or cannot be written: encoder, container",
    "inputs-skipped": "contents of a folder or matches of a glob are not restored: count",
    "interlaced": "the source is interlaced: deinterlaced",
    "interlaced-flags": "frames are marked as interlaced or progressive, and look like the other",
    "interlaced-frames": "some frames are interlaced and stay so: seconds",
    "mask-alignment": "which picture of a mask is the first used: masks, first",
    "masks-skipped": "pictures in a folder of masks are results of earlier runs: count",
    "memory-fallback": "memory ran out, and the run continues in a way that takes less: step",
    "memory-in-pieces": "memory of a GPU cannot grow in segments, so that large results may lack it sooner",
    "memory-short": "the memory of a processor may not be enough: bytes (that the run takes)",
    "metadata-loss": "metadata that pictures or the container cannot hold: container",
    "model-fallback": "a model that was chosen does not fit the memory, and the next one is taken: model, device",
    "model-ready": "vrx models pull is done with a model: files",
    "model-scale-resized": "a model enlarges by its own scale, and its frames are resized: model, model_scale, scale",
    "model-selected": "--model auto chose a model, or a larger one exists: model, larger",
    "no-sequence": "--sequence was given, and no input is one of several numbered pictures",
    "numbered-pictures": "pictures that look like the frames of a video are restored one by one: count",
    "not-compiled": "a compiler failed, and a part of a network runs as it is: nothing but time is lost",
    "not-recorded": "steps of a network are launched one by one on a GPU, not replayed: nothing but time is lost",
    "not-resumable": "a run that stops at its deadline will start again: output",
    "on-done-failed": "the command of --on-done failed, or could not be run: status (of its exit; None: not run)",
    "on-done-output": "output of the command of --on-done: line",
    "orientation-applied": "pixels are turned, as the container has no tag for it: rotation, mirrored",
    "orientation-change": "the orientation changes within the source: seconds",
    "orientation-loss": "an angle that is not a quarter turn is dropped",
    "page-written": "the page of --html is complete: page",
    "picture-choice": "a file of several pictures, one of which is restored: pictures",
    "picture-truncated": "a picture is incomplete: path",
    "pixel-format-change": "the pixel format changes within the source: pix_fmt",
    "pixel-format-chosen": "the pixel format of the result is one that browsers and phones play: pix_fmt",
    "pixel-format-loss": "the encoder cannot hold the source's pixel format: pix_fmt",
    "places-chosen": "the places of a preview, as none is named: places (seconds)",
    "plainly-enlarged": "where the network's result, shrunk again, is not the source, the picture is enlarged plainly: "
    "scene, share (of its first such frame)",
    "result-resized": "frames are resized after the network, to the size that was asked for: scale, width, height",
    "preview-joins-late": "a place of a preview is restored without the frames before that a run of all knows: seconds",
    "preview-of-hdr": "a preview shows HDR as ordinary screens do: transfer",
    "precision-fallback": "numbers overflowed, and the run continues in a wider type: dtype",
    "cluster-plan": "with --ray and --dry-run, the time with several numbers of workers, and what bounds it: limit",
    "cluster-joined": "with --ray, which cluster is used, and how files reach its nodes: workers, nodes, bytes",
    "unit-retried": "with --ray, a span or file that failed is tried elsewhere: span, worker, attempt",
    "worker-lost": "with --ray, a worker, or its node, is gone: worker, node",
    "worker-refused": "with --ray, a worker that came later is not like the others: worker, node",
    "results-renamed": "inputs differ in the suffix only, which is therefore in the names of their results: count",
    "resuming": "an earlier run of the same command is resumed: frames",
    "shift-found": "pictures are moved by some pixels to lie on another's: path",
    "short-mask": "a mask ends before the video: masks, frames",
    "side-data-loss": "data beside frames cannot be preserved: kind, seconds",
    "size-change": "the size changes within the source, and frames are scaled: size",
    "source-truncated": "the source ends before its stated duration: seconds, duration",
    "stage-seconds": "seconds that each stage worked: names of stages",
    "stages-in-turn": "stages share a stream of a GPU, and wait for each other there: nothing but time is lost",
    "starting-over": "an earlier run cannot be resumed: changed",
    "stream-choice": "which of several video streams is restored: stream",
    "stream-conversion": "a stream is converted, as the container does not hold its codec: stream, codec, container",
    "stream-loss": "streams that the container does not hold: streams, container, suffix",
    "tag-loss": "tags that the container does not hold: tags, container",
    "telecine-missing": "--deinterlace film found no telecine in the first frames: frames",
    "timecode-loss": "the timecode is dropped",
    "found-by-look": "overlays found by how they look, as the picture hardly changes: count",
    "still-picture": "too few changes of the picture to find what stays in it: changes",
    "timestamps-repaired": "timestamps of the source were repaired",
    "torch-unsuitable": "this version of torch has a fault on GPUs: torch",
    "trace-incomplete": "the file of --trace cannot be written: path",
    "transfers-differ": "HDR is compared with SDR: path",
    "transparency-loss": "transparency cannot be decoded",
    "waiting-for-memory": "with --jobs, an input waits until others leave it enough memory: bytes",
    "untagged-color": "the source has no color tags: matrix",
    "weights-fit": "how the weights are stored, as the GPU has little memory: model, int8, offload",
}


@dataclass(frozen=True)
class Note:
    """A note for the user; the run continues.

    `code` names the kind for programs (see `NOTE_CODES`), `text` says it to people, `facts` hold its values
    (`{"scene": 1, "sigma": 2.1}`); `level` is `info`, `warning`, or `detail` (shown with --verbose).
    """

    code: str
    text: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    level: Level = "info"


Notify = Callable[[Note], None]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events.

    `kind` is the `type` of its JSON line; `input` the input as it was named, `-` for standard input, or the
    model's name in `vrx models pull`.
    """

    kind: ClassVar[str]
    input: str = ""


@dataclass(frozen=True, kw_only=True)
class Opening(Event):
    """An input is about to be opened."""

    kind: ClassVar[str] = "opening"


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """Restoring begins.

    `output` is the file, or `-` for standard output.  `frames` is an estimate, None for a pipe; the first
    `resumed_frames` of them were restored by an earlier run.  `device` and `dtype` are torch's names, the latter with
    `, weights in int8` or `fp8` where they are.
    """

    kind: ClassVar[str] = "started"
    output: str
    frames: int | None
    source_size: tuple[int, int]
    target_size: tuple[int, int]
    model: str
    device: str
    dtype: str
    resumed_frames: int = 0


@dataclass(frozen=True, kw_only=True)
class Noted(Event):
    """A note: see `Note` for `code`, `text`, `facts` and `level`."""

    kind: ClassVar[str] = "note"
    code: str
    text: str
    facts: Mapping[str, Fact] = field(default_factory=dict)
    level: Level = "info"

    @classmethod
    def of(cls, source: str, note: Note) -> Noted:
        """The event of a note about an input."""
        return cls(input=source, code=note.code, text=note.text, facts=note.facts, level=note.level)


@dataclass(frozen=True, kw_only=True)
class Fetching(Event):
    """A file of a checkpoint is being downloaded: `done` bytes of `size`, None where unknown."""

    kind: ClassVar[str] = "fetching"
    part: str
    done: int
    size: int | None


@dataclass(frozen=True, kw_only=True)
class SceneBegan(Event):
    """Scene `number` begins at frame `frame`; `soft` where it only refreshes the guidance of the same scene."""

    kind: ClassVar[str] = "scene"
    number: int
    frame: int
    soft: bool


@dataclass(frozen=True, kw_only=True)
class Advanced(Event):
    """`done` frames of `frames` are written, those of an earlier run among them; about ten times a second.

    `fps` is the mean of this run, `queues` how many chunks wait before each stage.
    """

    kind: ClassVar[str] = "progress"
    done: int
    frames: int | None
    scene: int
    fps: float
    queues: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The result is complete under its final name; `resumed_frames` of its frames come from an earlier run."""

    kind: ClassVar[str] = "finished"
    output: str
    frames: int
    scenes: int
    seconds: float
    resumed_frames: int = 0

    @property
    def fps(self) -> float:
        """Frames that this run restored, a second."""
        return rate(self.frames - self.resumed_frames, self.seconds)


@dataclass(frozen=True, kw_only=True)
class Previewed(Event):
    """A preview is complete: the picture `output` and the `clip`, None where there is only one frame of each place.

    `places` are in seconds after the source's first frame; `frames` were restored for it, as many as `started` has.
    """

    kind: ClassVar[str] = "previewed"
    output: str
    clip: str | None
    places: tuple[float, ...]
    frames: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Skipped(Event):
    """The result exists already, and --skip-existing leaves it."""

    kind: ClassVar[str] = "skipped"
    output: str


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """An input failed, or with an empty `input` the whole command; an earlier file of that name is unchanged."""

    kind: ClassVar[str] = "failed"
    message: str
    hint: str
    exit_code: int


@dataclass(frozen=True, kw_only=True)
class Stopped(Event):
    """The run was interrupted (Ctrl-C: exit code 130) or terminated (143) after `done` of `frames` frames.

    `saved` frames are kept for the next run of the same command, which resumes there; 0 starts again.
    """

    kind: ClassVar[str] = "stopped"
    done: int
    frames: int | None
    saved: int
    exit_code: int


@dataclass(frozen=True, kw_only=True)
class BatchFinished(Event):
    """All inputs of a command were worked on: how many are done, failed and skipped, and the exit code."""

    kind: ClassVar[str] = "batch-finished"
    done: int
    failed: int
    skipped: int
    exit_code: int


@dataclass(frozen=True, kw_only=True)
class WorkerJoined(Event):
    """With --ray, a worker is ready: its node and process, device, and versions of vrx, torch, ffmpeg and PyAV."""

    kind: ClassVar[str] = "worker"
    worker: str
    node: str
    pid: int
    device: str
    model: str
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class UnitChanged(Event):
    """With --ray, what became of a span (None: of a short file at once) of `frames` at most, on a worker.

    `state` is begun, doubled (begun a second time, as the first is slow), done, or failed; `reason` says why.
    """

    kind: ClassVar[str] = "span"
    span: int | None
    state: str
    worker: str
    node: str
    frames: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ClusterAdvanced(Event):
    """With --ray, how far all is: files and spans done of those known, workers, frames a second, seconds left."""

    kind: ClassVar[str] = "cluster"
    files_done: int
    files: int
    spans_done: int
    spans: int
    workers: int
    fps: float
    share: float
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True)
class NodeFinished(Event):
    """With --ray, what a node did: workers, spans, frames, the seconds that its workers worked, and failures."""

    kind: ClassVar[str] = "node"
    node: str
    workers: int
    spans: int
    frames: int
    seconds: float
    failures: int

    @property
    def fps(self) -> float:
        """Frames a second of all its workers together, while they work."""
        return rate(self.frames * self.workers, self.seconds)


Watcher = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The watcher that does nothing."""


def rate(frames: int, seconds: float) -> float:
    """Frames a second, in however short a time."""
    return frames / max(seconds, 1e-9)


def format_count(number: int, thing: str) -> str:
    """A number of things, as notes have it: `1 frame`, `2 frames`."""
    return f"{number} {thing}{'s' if number != 1 else ''}"
