"""Events as lines of text, for terminals and logs."""

from __future__ import annotations

from dataclasses import fields, replace

from vrx import events
from vrx.cli.render import printable
from vrx.errors import VrxError
from vrx.events import Event, format_count

STANDARD = "-"


def format_event(event: Event, verbose: bool) -> str | None:
    """The line of an event; None for one that has none.  Texts of the event must be printable."""
    match event:
        case events.Started():
            frames = f"{format_count(event.frames, 'frame')}, " if event.frames else ""
            sizes = "{}x{} to {}x{}".format(*event.source_size, *event.target_size)
            return f"{label(event.input)}: {frames}{sizes}, {event.model} on {event.device} ({event.dtype})"
        case events.Finished():
            return format_finished(event)
        case events.Previewed():
            return format_previewed(event)
        case events.Skipped():
            return f"{label(event.input)}: skipped, {event.output} exists"
        case events.Failed():
            return format_failed(event)
        case events.WorkerJoined() if verbose:
            return f"{event.worker} is ready on {event.node} ({event.device})"
        case events.UnitChanged() if verbose:
            return format_unit(event)
        case events.NodeFinished():
            return format_node(event)
        case events.Noted() if verbose or event.level != events.DETAIL:
            return event.text
        case _:
            return None


def format_finished(event: events.Finished) -> str:
    """`out.mp4: 576 frames (240 from an earlier run), 3 scenes, 41.2 s (14.0 fps)`."""
    name = "standard output" if event.output == STANDARD else event.output
    resumed = f" ({event.resumed_frames} from an earlier run)" if event.resumed_frames else ""
    facts = [format_count(event.frames, "frame") + resumed, format_count(event.scenes, "scene")]
    speed = f" ({format_speed(event.fps)})" if event.fps > 0 else ""
    return f"{name}: {', '.join(facts)}, {event.seconds:.1f} s{speed}"


def format_previewed(event: events.Previewed) -> str:
    """`in.x4.preview.png and in.x4.preview.mp4: 3 places, 125 frames, 12.3 s`."""
    names = event.output if event.clip is None else f"{event.output} and {event.clip}"
    counts = f"{format_count(len(event.places), 'place')}, {format_count(event.frames, 'frame')}"
    return f"{names}: {counts}, {event.seconds:.1f} s"


def format_unit(event: events.UnitChanged) -> str:
    """`in.mp4 span 3: begun by vrx worker 1 on render-2`."""
    part = "" if event.span is None else f" span {event.span + 1}"
    why = f": {event.reason}" if event.reason else ""
    return f"{label(event.input)}{part}: {event.state} by {event.worker} on {event.node}{why}"


def format_node(event: events.NodeFinished) -> str:
    """`render-2: 4 workers, 31 spans, 9120 frames, 12.1 fps, 1 failure`."""
    counts = [format_count(event.workers, "worker"), format_count(event.spans, "span")]
    counts += [format_count(event.frames, "frame")] + ([format_speed(event.fps)] if event.fps > 0 else [])
    return f"{event.node}: {', '.join(counts)}, {format_count(event.failures, 'failure')}"


def format_cluster(event: events.ClusterAdvanced) -> str:
    """`3 of 40 files, 31 of 92 spans, 8 workers, 12.1 fps, 1:02:10 left`."""
    parts = [f"{event.files_done} of {format_count(event.files, 'file')}"]
    parts += [f"{event.spans_done} of {format_count(event.spans, 'span')}"]
    parts += [format_count(event.workers, "worker")] + ([format_speed(event.fps)] if event.fps > 0 else [])
    left = [] if event.seconds_left is None else [f"{format_duration(event.seconds_left)} left"]
    return ", ".join(parts + left)


def format_failed(event: events.Failed) -> str:
    """The error line of a failed input."""
    return f"vrx: {VrxError(event.message, event.hint)}"


def format_advanced(event: events.Advanced) -> str:
    """`in.mp4: 240 of 576 frames, 14.0 fps, scene 2`."""
    total = f" of {event.frames}" if event.frames else ""
    rate = f", {format_speed(event.fps)}" if event.fps > 0 else ""
    return f"{label(event.input)}: {event.done}{total} frames{rate}, scene {event.scene}"


def label(source: str) -> str:
    """An input's name for people."""
    return "standard input" if source == STANDARD else source


def format_speed(fps: float) -> str:
    """Frames per second, or seconds per frame where that is below one."""
    return f"{fps:.1f} fps" if fps >= 1 else f"{1 / fps:.1f} s/frame"


def format_duration(seconds: float) -> str:
    """A duration as M:SS or H:MM:SS."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def printable_event(event: Event) -> Event:
    """The event as a terminal may show it: names from outside cannot control it."""
    texts = {field.name: getattr(event, field.name) for field in fields(event)}
    return replace(event, **{name: printable(text) for name, text in texts.items() if isinstance(text, str)})
