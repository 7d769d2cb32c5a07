"""The options of how a run goes: the last panel of the help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vrx.cli.completion import complete_words
from vrx.cli.options import FLAG, choices

RUN = "Run"

ProgressStyle = Literal["auto", "bar", "plain", "none"]

Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        show_default="one a core",
        help="Processor threads of the networks, the decoder and the encoder, each; the three work side by side, so "
        "that a few more may be busy.",
        rich_help_panel=RUN,
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        "-j",
        "--jobs",
        metavar="N",
        help="Inputs to work on at once, on a processor: its threads are divided, and inputs wait for memory.",
        rich_help_panel=RUN,
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="auto|local|ADDRESS",
        autocompletion=complete_words("auto", "local"),
        help="Work on a Ray cluster, at its address (HOST:6379), or on all of this machine. Long videos are divided at "
        "cuts. Needs: pip install ray.",
        rich_help_panel=RUN,
    ),
]
Ship = Annotated[
    bool,
    typer.Option(
        "--ship",
        metavar=FLAG,
        help="With --ray: send inputs and results through the cluster, whose nodes do not see the same disks.",
        rich_help_panel=RUN,
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        metavar="HH:MM",
        help="Stop at the next HH:MM: the chunks at hand are finished, and all that is done is saved. The same command "
        "resumes there; results that exist are skipped (-n).",
        rich_help_panel=RUN,
    ),
]
Log = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Add everything that is printed, but for progress bars, to a text file, with times.",
        rich_help_panel=RUN,
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        show_default=False,
        help="Write a page in the end that shows the source beside the result: sliders, video, plots, figures, damage.",
        rich_help_panel=RUN,
    ),
]
Trace = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write what every thread and the GPU did when, to be opened in ui.perfetto.dev or chrome://tracing.",
        rich_help_panel=RUN,
    ),
]
OnDone = Annotated[
    str | None,
    typer.Option(
        "--on-done",
        metavar="COMMAND",
        help="Run a shell command after each input that is done or failed. It finds VRX_INPUT, VRX_OUTPUT, VRX_STATUS, "
        "VRX_EXIT_CODE, VRX_MESSAGE and VRX_TASK in its environment. If it fails, vrx ends with 7.",
        rich_help_panel=RUN,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume/--no-resume",
        metavar=FLAG,
        help="Resume an interrupted run of the same command.",
        rich_help_panel=RUN,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", metavar=FLAG, help="Show the plan and exit.", rich_help_panel=RUN)]
Json = Annotated[
    bool,
    typer.Option("--json", metavar=FLAG, help="Events as JSON on standard output, one per line.", rich_help_panel=RUN),
]
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", metavar=FLAG, help="Show errors and warnings only.", rich_help_panel=RUN)
]
Verbose = Annotated[
    bool,
    typer.Option(
        "-v", "--verbose", metavar=FLAG, help="Show details: checkpoint, encoder, queues.", rich_help_panel=RUN
    ),
]
Progress = Annotated[
    ProgressStyle,
    typer.Option(
        "--progress",
        metavar=choices(ProgressStyle),
        help="How progress is shown; auto: a bar on a terminal.",
        rich_help_panel=RUN,
    ),
]
