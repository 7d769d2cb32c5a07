"""Some words belong to one room."""

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vrx"
WORDS = {
    r"\bsubprocess\b": (
        "media/ffmpeg.py",
        "pipeline/on_done.py",  # the user's own command
        "cluster/join.py",  # what ends a local cluster whatever ends this process
        "bench/gpu/",  # every part of the check in a process of its own: one may hang or take all memory
    ),
    r"\bimport threading\b|from threading": (
        "pipeline/",
        "cluster/",  # files are opened while workers are at work
        "media/ffmpeg.py",
        "media/signals.py",
        "cli/signals.py",  # a thread that ends what no signal ends
        "weights/concurrency.py",
        "weights/download.py",
        "weights/backend.py",
        "train/pool.py",  # clips are made while training goes on
    ),
    r"torch\.load\b": ("weights/checkpoint.py", "train/"),
    r"os\.environ": (
        "environment.py",
        "bench/gpu/",  # settings of the processes it starts
        "cluster/join.py",  # what the processes of Ray see
    ),
    r"\brich\b": ("cli/",),
    r"sys\.exit": ("cli/",),
    r"torch\.cuda\b": (
        "pipeline/devices.py",
        "pipeline/cost.py",
        "bench/end_to_end.py",
        "bench/stages.py",
        "bench/gpu/",  # what it measures
        "networks/replay.py",  # graphs of it
        "train/pool.py",  # streams and graphs of a training by the clock
        "train/recurrent.py",
    ),
    r"(?<!\.)\bprint\(": ("train/", "bench/gpu/results.py"),  # programs of their own
    r"\bpickle\b": ("weights/pickle_guard.py",),
}


@pytest.mark.parametrize("word", WORDS)
def test_words_stay_in_their_rooms(word: str) -> None:
    strangers = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(word, path.read_text()) and not str(path.relative_to(PACKAGE)).startswith(WORDS[word])
    ]
    assert strangers == []


def test_no_file_is_too_long() -> None:
    long = {
        str(p.relative_to(PACKAGE)): n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400
    }
    assert long == {}


BRITISH = (
    r"colour|(normal|optim|initial|recogn|quant|organ|serial|synchron|summar|minim|maxim|orthogonal)is(e|ing|ation)"
    r"|behaviour|neighbour|favour|\bgrey\b|\bcent(re|red|res)\b|artefact|labelled|modelled|towards"
)


def test_spelling_is_american() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if re.search(BRITISH, path.read_text(), re.IGNORECASE)]
    assert [str(path.relative_to(PACKAGE)) for path in files] == []
