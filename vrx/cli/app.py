"""The root command, and the only place that catches errors, prints them and exits."""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress
from typing import Annotated

import typer
from typer.exceptions import TyperException

from vrx import __version__, events
from vrx.cli import (
    bench,
    compare,
    doctor,
    info,
    manual,
    mask,
    models,
    output,
    presets,
    restore,
    scenes,
    signals,
    transcript,
)
from vrx.cli.completion import use_own_scripts
from vrx.cli.defaults import ConfiguredCommand
from vrx.cli.options import FLAG
from vrx.cli.plain_help import Command
from vrx.cli.preview import PreviewGroup
from vrx.cli.progress import write_event
from vrx.cli.render import error_line
from vrx.cli.usage import CommandGroup, end_of_help, from_typer
from vrx.environment import sleep_while_waiting
from vrx.errors import Exit, FailedInputsError, StoppedError, UsageError, VrxError, resource_errors

DEBUG = "--debug"
JSON = "--json"
MAY_BE_EMPTY = "--encoder-args"
RESTORING = {"upscale", "restore", "deblur", "inpaint", "preview"}

use_own_scripts()
app = typer.Typer(
    name="vrx",
    cls=CommandGroup,
    help="Restore videos and pictures: enlarge, deblur, inpaint.",
    epilog=end_of_help("vrx upscale in.mp4", "vrx upscale --help"),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


previews = typer.Typer(
    cls=PreviewGroup,
    help="Show some places of a video restored, beside the source. The task may be left out: it is the one whose "
    "options are given, else upscale.",
    epilog=end_of_help(
        "vrx preview in.mp4 -s 4", "vrx preview deblur in.mp4 --at 0:12 --at 1:03 --vary strength=0.3,0.6,1"
    ),
    no_args_is_help=True,
    subcommand_metavar="[upscale|deblur|inpaint] INPUT...",
)
for name, command, usual, varied in (
    ("upscale", restore.upscale, "in.mp4 -s 4", "--vary model=embedded,instavsr-small"),
    ("deblur", restore.deblur, "in.mp4 --at 0:12 --at 1:03", "--vary denoise=off,0.5,1"),
    ("inpaint", restore.inpaint, "in.mp4 --mask logo.png", "--vary dilate=0,2,4 --length frame"),
):
    previews.command(
        name,
        cls=ConfiguredCommand,
        help=f"Show some places as vrx {name} restores them, beside the source.",
        epilog=end_of_help(f"vrx preview {name} {usual}", f"vrx preview {name} {usual} {varied}"),
    )(restore.previewing(command))


def show_version(wanted: bool) -> None:
    """Print the version and exit."""
    if wanted:
        sys.stdout.write(f"vrx {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar=FLAG, callback=show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, metavar=FLAG, help="Show tracebacks and the log. Works anywhere in the command.")
    ] = False,
) -> None:
    """Restore videos and pictures: enlarge, deblur, inpaint."""


app.command(
    "upscale",
    cls=ConfiguredCommand,
    epilog=end_of_help("vrx upscale in.mp4 -s 2", "vrx upscale old/ -r -s 4 -o restored/ --skip-existing"),
)(restore.restoring(restore.upscale))
app.command(
    "restore",
    cls=ConfiguredCommand,
    epilog=end_of_help("vrx restore in.mp4", "vrx restore in.mp4 --model swiftvr -o out.mkv"),
)(restore.restoring(restore.same_size))
app.command(
    "deblur",
    cls=ConfiguredCommand,
    epilog=end_of_help("vrx deblur in.mp4", "vrx deblur in.mp4 --sigma 2.5 --start 0:10 --frames 48 -o part.mp4"),
)(restore.restoring(restore.deblur))
app.command(
    "inpaint",
    cls=ConfiguredCommand,
    epilog=end_of_help("vrx inpaint in.mp4 --mask logo.png", "cat in.mp4 | vrx inpaint --mask masks/ > out.mkv"),
)(restore.restoring(restore.inpaint))
app.add_typer(previews, name="preview")
app.command("info", cls=Command, epilog=end_of_help("vrx info in.mp4", "vrx info videos/ -r --json"))(info.info)
app.command("scenes", cls=Command, epilog=end_of_help("vrx scenes in.mp4", "vrx scenes in.mp4 --csv > cuts.csv"))(
    scenes.scenes
)
app.command(
    "compare",
    cls=Command,
    epilog=end_of_help("vrx compare old.mp4 old.x4.mp4 --html page.html", "vrx compare a.mp4 b.mp4 truth.mp4 --json"),
)(compare.compare)
app.command("presets", cls=Command, epilog=end_of_help("vrx presets", "vrx presets vhs"))(presets.presets)
app.command(
    "mask", cls=Command, epilog=end_of_help("vrx mask in.mp4", "vrx mask film.mkv --find dust,scratches -o dust.mkv")
)(mask.mask)
app.add_typer(models.app, name="models")
app.command("manual", cls=Command, hidden=True, epilog=end_of_help("vrx manual > vrx.1", "vrx manual | man -l -"))(
    manual.main
)
app.command("bench", cls=Command, epilog=end_of_help("vrx bench", "vrx bench --model infvsr --random-weights"))(
    bench.bench
)
app.command("doctor", cls=Command, epilog=end_of_help("vrx doctor", "vrx doctor --json"))(doctor.doctor)


def main() -> None:
    """Run the command line and exit with its code."""
    arguments = sys.argv[1:]
    debug = DEBUG in arguments
    # accepted anywhere: people add it to the end of the line that failed
    arguments = [DEBUG] * debug + [a for a in arguments if a != DEBUG]
    sleep_while_waiting()
    output.prepare()
    signals.install()
    if debug:
        logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
        logging.getLogger("vrx").setLevel(logging.DEBUG)
    signals.exit_process(int(run_guarded(arguments, debug)))


def refuse_empty(arguments: list[str]) -> None:
    """Refuse empty words: an unset shell variable must not mean the current folder.

    Raises UsageError.
    """
    for place, word in enumerate(arguments):
        option = word[:-1] if word.startswith("--") and word.find("=") == len(word) - 1 else ""
        if not word and place and arguments[place - 1].startswith("-"):
            option = arguments[place - 1]
        if option == MAY_BE_EMPTY or (word and not option):
            continue
        what = f"the value of {option}" if option.strip("-") else "an argument"
        raise UsageError(f"{what} is empty", "A shell variable may be unset")


def call(arguments: list[str]) -> int:
    """Run the program; typer's errors become vrx's.  Raises VrxError."""
    refuse_empty(arguments)
    try:
        with resource_errors():
            status = app(arguments, prog_name="vrx", standalone_mode=False)
            output.flush()
        if status == Exit.INTERRUPTED:  # typer's answer to Ctrl-C
            raise KeyboardInterrupt
        return status if isinstance(status, int) else Exit.DONE
    except (KeyboardInterrupt, typer.Abort) as stop:
        hint = "No output written; the same command starts again" if not RESTORING.isdisjoint(arguments) else ""
        raise StoppedError("interrupted", hint) from stop
    except TyperException as error:
        usage = from_typer(error, arguments)
        if usage is None:  # no arguments: the help was shown
            return Exit.USAGE
        raise usage from error


def run_guarded(arguments: list[str], debug: bool) -> int:
    """Run the program; every error becomes a line and an exit code, and the last line of the log."""
    try:
        status = run_reported(arguments, debug)
        transcript.TRANSCRIPT.info("exit code %d", status)
        return status
    finally:
        transcript.close()


def run_reported(arguments: list[str], debug: bool) -> int:
    """Run the program; every error becomes a line and an exit code."""
    try:
        return call(arguments)
    except VrxError as error:
        if debug:
            traceback.print_exc()
        return report(error, JSON in arguments)
    except BrokenPipeError:
        return Exit.BROKEN_PIPE
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # typer ends with 1 then
            return Exit.BROKEN_PIPE
        return stop.code if isinstance(stop.code, int) else Exit.FAULT
    except Exception as error:  # noqa: BLE001 - the boundary
        if debug:
            traceback.print_exc()
        hint = "Run again with --debug, and report it"
        return report(VrxError(f"internal error: {type(error).__name__}: {error}", hint), JSON in arguments)


def report(error: VrxError, as_json: bool) -> int:
    """Print an error, several where inputs failed together, and return the exit code."""
    failures = error.failures if isinstance(error, FailedInputsError) else (("", error),)
    for source, failure in failures:
        error_line(failure)
        if as_json and not isinstance(failure, StoppedError):
            code = int(failure.exit_code)
            with suppress(OSError):  # nobody reads it
                write_event(events.Failed(input=source, message=failure.message, hint=failure.hint, exit_code=code))
    return error.exit_code
