"""Results as they come: a JSON line in a file and a short line on the screen, each written at once."""

from __future__ import annotations

import contextlib
import json
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

FILES = ("env", "small", "bench", "embedded", "micro")  # with the log, the profile and the trace no more than eight
SCREEN, SUMMARY = 330, 260  # characters of a line
TRACE = 8  # lines of a traceback


class Results:
    """A folder of results; `began` is when the whole check did, by `perf_counter`."""

    def __init__(self, folder: Path, began: float) -> None:
        self.folder, self.began = folder, began

    def clear(self) -> None:
        """Remove what an earlier check left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in (*(f"{file}.jsonl" for file in FILES), "profile.txt", "trace.json"):
            (self.folder / name).unlink(missing_ok=True)

    def say(self, line: str) -> None:
        """A line on the screen alone."""
        print(f"[{perf_counter() - self.began:5.1f}] {line}", flush=True)  # noqa: T201

    def emit(self, file: str, **record: object) -> None:
        """One result."""
        with (self.folder / f"{file}.jsonl").open("a") as target:
            target.write(json.dumps(record, default=str) + "\n")
            target.flush()
            os.fsync(target.fileno())
        self.say(f"{file}: " + " ".join(f"{k}={v}" for k, v in record.items() if k != "trace")[:SCREEN])

    def append(self, name: str, text: str) -> None:
        """More text of a file."""
        with (self.folder / name).open("a") as target:
            target.write(text)

    @contextlib.contextmanager
    def guard(self, file: str, **what: object) -> Iterator[None]:
        """A failure inside is a result as well, and the rest runs on."""
        begin = perf_counter()
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what was to be found out
            lines = traceback.format_exc().strip().splitlines()[-TRACE:]
            name, text = type(error).__name__, str(error)[:400]
            self.emit(file, **what, failed=name, why=text, after=round(perf_counter() - begin, 1), trace=lines)

    def summarize(self) -> None:
        """The figures that matter most, last on the screen."""
        print("== summary", flush=True)  # noqa: T201
        for name in FILES:
            path = self.folder / f"{name}.jsonl"
            for line in path.read_text().splitlines() if path.exists() else []:
                record = json.loads(line)
                if name == "bench" and not (record.get("steady") or "failed" in record):
                    continue
                record.pop("trace", None)
                print(name, json.dumps(record)[:SUMMARY])  # noqa: T201
