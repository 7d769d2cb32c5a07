"""The command of --on-done: run by the shell once a job is done or has failed, which it knows from its environment.

Names of files reach it in variables only, as absolute paths: no name can be taken for a part of the command or, by a
program that is given it, for an option.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import IO

from vrx import events
from vrx.environment import environment_with
from vrx.errors import VrxError
from vrx.events import Note, Watcher
from vrx.settings import Job

MAX_LINES, MAX_BYTES = 20, 8000  # of what a command writes that are shown: the last ones
STANDARD = "-"


def describe(job: Job, output: Path | None, result: VrxError | None) -> dict[str, str]:
    """The variables of a job that is done, or failed with an error; `output` None for standard output or none."""
    return {
        "VRX_INPUT": absolute(job.source),
        "VRX_OUTPUT": STANDARD if output is None else absolute(str(output)),
        "VRX_TASK": str(job.restore.task),
        "VRX_STATUS": "done" if result is None else "failed",
        "VRX_EXIT_CODE": "0" if result is None else str(int(result.exit_code)),
        "VRX_MESSAGE": "" if result is None else str(result).replace("\0", ""),
    }


def absolute(name: str) -> str:
    """A path that begins with a slash, or - for a standard stream."""
    return name if name == STANDARD else str(Path(name).absolute())


def run_command(command: str, source: str, variables: dict[str, str], watch: Watcher) -> bool:
    """Run a command and pass on what it writes; whether it succeeded, with a warning where it did not.

    It reads nothing and writes neither to standard output, where results are, nor across the progress line.
    """
    with tempfile.TemporaryFile() as written:
        try:
            done = subprocess.run(
                command,
                shell=True,
                env=environment_with(variables),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except OSError as error:
            text = f"{source}: cannot run the --on-done command: {error.strerror}"
            watch(events.Noted.of(source, Note("on-done-failed", text, {"status": None}, "warning")))
            return False
        for line in last_lines(written):
            watch(events.Noted.of(source, Note("on-done-output", f"on-done: {line}", {"line": line})))
    if done.returncode:
        text = f"{source}: the --on-done command ended with status {done.returncode}"
        watch(events.Noted.of(source, Note("on-done-failed", text, {"status": done.returncode}, "warning")))
    return done.returncode == 0


def last_lines(written: IO[bytes]) -> list[str]:
    """The last lines of a file."""
    written.seek(max(0, written.seek(0, 2) - MAX_BYTES))
    return written.read().decode(errors="replace").splitlines()[-MAX_LINES:]
