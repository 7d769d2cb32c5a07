"""What travels between the driver and its workers: units of work there, beats and outcomes back.  Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from vrx.cluster.shipping import Shipment
from vrx.errors import VrxError
from vrx.events import Note
from vrx.pipeline.spans.part import SpanWork
from vrx.pipeline.spans.result import Means
from vrx.settings import Job


@dataclass(frozen=True, kw_only=True)
class FileUnit:
    """A file to restore at once, into the folder of the job's output; one of more frames than `limit` is refused.

    `shipments` are the files it reads where they are not on a file system that all nodes see; then the result is
    sent back in pieces.
    """

    job: Job
    limit: int
    shipments: tuple[Shipment, ...] = ()
    returns: bool = False


@dataclass(frozen=True, kw_only=True)
class SpanUnit:
    """A span to restore into a segment in `folder`; `shipments` and `returns` as those of a file."""

    work: SpanWork
    folder: Path
    shipments: tuple[Shipment, ...] = ()
    returns: bool = False


Unit = FileUnit | SpanUnit


@dataclass(frozen=True)
class Beat:
    """A sign of life: how many frames of the unit are written, and what the model noticed meanwhile."""

    done: int
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Piece:
    """Bytes of a finished file of that `name`, in order; the `first` ones begin it."""

    name: str
    content: bytes
    first: bool


@dataclass(frozen=True)
class SpanDone:
    """A segment is finished under a name in the folder of its unit."""

    name: str
    frames: int
    begin: Fraction


@dataclass(frozen=True)
class FileDone:
    """A file is restored: the names of what was written into the folder of its unit."""

    names: tuple[str, ...]
    frames: int
    scenes: int


@dataclass(frozen=True)
class TooLong:
    """A file that is to be restored in spans; it has `frames`, as far as its header says."""

    frames: int | None


@dataclass(frozen=True)
class UnitFailed:
    """A unit could not be restored."""

    error: VrxError


Outcome = SpanDone | FileDone | TooLong | UnitFailed
Message = Beat | Piece | Outcome


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a worker is: its machine and process, `means`, and the versions of what decides its results."""

    host: str
    pid: int
    means: Means
    versions: dict[str, str] = field(default_factory=dict)
