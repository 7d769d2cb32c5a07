"""Traces read as the viewers read them, and checked against the Trace Event Format."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

NEEDED = {  # keys of an event by its phase, by the format's description
    "M": {"name", "pid", "tid", "args"},
    "B": {"name", "ts", "pid", "tid"},
    "E": {"ts", "pid", "tid"},
    "X": {"name", "ts", "dur", "pid", "tid"},
    "i": {"name", "ts", "pid", "tid", "s"},
    "C": {"name", "ts", "pid", "tid", "args"},
    **{phase: {"name", "ts", "pid", "tid", "id", "cat"} for phase in "stf"},
}


def events_of(path: Path) -> list[dict[str, Any]]:
    """The events of a file; as in the viewers, its end may be missing."""
    text = path.read_text(encoding="utf-8").rstrip()
    if not text.endswith("]"):
        text = text[: text.rindex("\n")] if not text.endswith("},") else text
        text = text.rstrip().rstrip(",") + "]"
    found: list[dict[str, Any]] = json.loads(text)
    return found


class Reader:
    """Follows the events of a trace and checks each: `spans` are the names of each track's spans, in their order."""

    def __init__(self) -> None:
        self.tracks: dict[int, str] = {}
        self.opened: dict[int, list[str]] = defaultdict(list)
        self.latest: dict[int, float] = defaultdict(float)
        self.arrows: dict[int, str] = {}
        self.spans: dict[str, list[str]] = defaultdict(list)

    def take(self, event: dict[str, Any]) -> None:
        """One event."""
        phase, tid = event["ph"], event["tid"]
        assert set(event) >= NEEDED[phase], event
        if phase == "M":
            if event["name"] == "thread_name":
                self.tracks[tid] = event["args"]["name"]
            return
        assert tid in self.tracks
        if phase == "X":  # told when it is over
            assert min(event["ts"], event["dur"]) >= 0
        else:
            assert event["ts"] >= self.latest[tid]
            self.latest[tid] = event["ts"]
        self._follow(event, phase, tid)

    def _follow(self, event: dict[str, Any], phase: str, tid: int) -> None:
        if phase in "BX":
            self.spans[self.tracks[tid]].append(event["name"])
        match phase:
            case "B":
                self.opened[tid].append(event["name"])
            case "E":
                assert self.opened[tid].pop() == event["name"]
            case "i":
                assert event["s"] in ("g", "p", "t")
            case "C":
                assert all(isinstance(value, int) for value in event["args"].values())
            case "s" | "t" | "f":
                assert self.opened[tid]  # it belongs to the span around it
                assert (phase == "s") == (event["id"] not in self.arrows)
                self.arrows[event["id"]] = phase


def check(events: list[dict[str, Any]], complete: bool = True) -> dict[str, list[str]]:
    """Check the events of a trace; returns the names of each track's spans, in their order.

    Spans of a thread lie within each other, and its times grow; arrows start before they end; numbers are numbers.
    """
    reader = Reader()
    for event in events:
        reader.take(event)
    if complete:
        assert not any(reader.opened.values())
        assert set(reader.arrows.values()) <= {"f"}
    return dict(reader.spans)
