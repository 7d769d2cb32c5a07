"""The Hub client's HTTP session, what its failures are called, and the one line they become."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import huggingface_hub
from huggingface_hub import constants

from vrx import __version__
from vrx.errors import ModelError

ASK_SECONDS = (4.0, 8.0, 8.0, 8.0)  # to connect, to read, to write, to get a free connection
ASK_IN_ALL = 12.0  # seconds for a question with all its redirects and repetitions
READ_SECONDS = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)  # without a single byte, while a file arrives
REPEAT = "Check the network and run again (what arrived is kept), or bring the file: vrx models import"


def session() -> Any:
    """`huggingface_hub`'s HTTP client, with its proxies, certificates and offline mode."""
    return huggingface_hub.get_session()


def plain_headers() -> dict[str, str]:
    """What every request says.  Not the Hub client's own, which asks the Hub about agents first."""
    return {"User-Agent": f"vrx/{__version__}", "Accept-Encoding": "identity"}


def offline() -> bool:
    """Whether the user forbids the network to all of the Hub's tools."""
    return bool(constants.HF_HUB_OFFLINE)


def troubles() -> tuple[type[Exception], ...]:
    """What the HTTP client raises when the network fails; the library under it changed more than once."""
    client = type(session())
    bases = {
        base for name in ("HTTPError", "TransportError", "InvalidURL") if (base := exported(client.__module__, name))
    }
    return (*bases, OSError)


def exported(module: str, name: str) -> type[Exception] | None:
    """A class that the package of `module` exports."""
    found = getattr(sys.modules.get(module.split(".", maxsplit=1)[0]), name, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else None


@contextmanager
def reached(what: object, server: str) -> Iterator[None]:
    """Failures of the network, while `what` is got from `server`, as one clear line.  Raises ModelError."""
    if offline():
        raise ModelError(f"{what} is not on this machine and HF_HUB_OFFLINE is set", "Unset it to download")
    try:
        yield
    except ModelError:
        raise
    except troubles() as error:
        raise ModelError(f"cannot get {what} from {server}: {in_words(error)}", REPEAT) from error


def in_words(error: Exception) -> str:
    """The first line of what the client says, without the full stop: the line goes on after it."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__
