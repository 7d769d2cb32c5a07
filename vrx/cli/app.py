"""The root command, and the only place that catches, prints and exits."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer
from typer.exceptions import TyperException

from vrx import __version__
from vrx.cli import bench, deblur, doctor, info, inpaint, models, output, scenes, signals, upscale
from vrx.cli.render import error_line
from vrx.errors import Exit, StoppedError, UsageError, VrxError, resource_errors

DEBUG = "--debug"
MAY_BE_EMPTY = "--encoder-args"
RESTORING = {"upscale", "deblur", "inpaint"}

app = typer.Typer(
    name="vrx",
    help="Restore videos: enlarge, deblur, inpaint.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        sys.stdout.write(f"vrx {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show tracebacks.")] = False,
) -> None:
    """Restore videos: enlarge, deblur, inpaint."""


app.command("upscale")(upscale.upscale)
app.command("deblur")(deblur.deblur)
app.command("inpaint")(inpaint.inpaint)
app.command("info")(info.info)
app.command("scenes")(scenes.scenes)
app.add_typer(models.app, name="models")
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the command line and exit with its status."""
    arguments = sys.argv[1:]
    debug = DEBUG in arguments
    # accepted anywhere: people add it to the end of the line that failed
    arguments = [DEBUG] * debug + [a for a in arguments if a != DEBUG]
    output.prepare()
    signals.install()
    signals.leave(int(guarded(arguments, debug)))


def refuse_empty(arguments: list[str]) -> None:
    """Refuse empty words: what comes of a variable that is not set must not mean the current folder, or nothing.

    Raises UsageError.
    """
    for place, word in enumerate(arguments):
        option = word[:-1] if word.startswith("--") and word.find("=") == len(word) - 1 else ""
        if not word and place and arguments[place - 1].startswith("-"):
            option = arguments[place - 1]
        if option == MAY_BE_EMPTY or (word and not option):
            continue
        what = f"the value of {option}" if option.strip("-") else "one of the words"
        raise UsageError(f"{what} is empty", "A variable of the shell may be unset")


def call(arguments: list[str]) -> int:
    """Run the program; typer's own failures become ours.  Raises VrxError."""
    refuse_empty(arguments)
    try:
        with resource_errors():
            status = app(arguments, prog_name="vrx", standalone_mode=False)
            output.flush()
        if status == Exit.INTERRUPTED:  # typer's word for Ctrl-C
            raise KeyboardInterrupt
        return status if isinstance(status, int) else Exit.DONE
    except (KeyboardInterrupt, typer.Abort) as stop:
        raise StoppedError("interrupted") from stop
    except TyperException as error:
        message = getattr(error, "format_message", error.__str__)()
        if not message:  # nothing was asked, and the help has been shown
            return Exit.USAGE
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "vrx"
        raise UsageError(message.rstrip("."), f"See: {command} --help") from error


def guarded(arguments: list[str], debug: bool) -> int:
    """Run the program; turn every failure into one line and a status."""
    try:
        return call(arguments)
    except VrxError as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, StoppedError) and not RESTORING.isdisjoint(arguments):
            error.hint = error.hint or "Nothing was published; run the same command again"
        error_line(error)
        return error.exit_code
    except BrokenPipeError:
        return Exit.FAULT  # whoever read our output has left; nobody is there to be told
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else Exit.FAULT
    except Exception as error:  # noqa: BLE001 - the boundary: said to the user
        if debug:
            traceback.print_exc()
        error_line(
            VrxError(f"a fault of ours: {type(error).__name__}: {error}", "Run again with --debug and report it")
        )
        return Exit.FAULT
